"""What is no problem: greetings, questions about the model, and everything that it cannot do.

The model answers these in a sentence that says honestly what it is.
"""

from problem import language_of

_ABILITIES = {
    "en": "I can add, subtract, multiply, compare and count.",
    "zh": "我会加、减、乘、比较和数数。",
}
_HELLO = {
    "en": "Hello! I am tiny-r1, a tiny demonstration model. " + _ABILITIES["en"],
    "zh": "你好！我是 tiny-r1，一个很小的演示模型。" + _ABILITIES["zh"],
}
_IDENTITY = {
    "en": "I am tiny-r1, a tiny demonstration model. " + _ABILITIES["en"],
    "zh": "我是 tiny-r1，一个很小的演示模型。" + _ABILITIES["zh"],
}
_LIMITS = {
    "en": "I am only a tiny demonstration model. I can add and subtract numbers of up to 4 digits, "
    "multiply numbers of up to 2 digits, compare numbers and count to 30.",
    "zh": "我只是一个很小的演示模型，只会四位数以内的加减、两位数以内的乘法、比较大小和数到 30。",
}
_THANKS = {"en": "You are welcome!", "zh": "不客气！"}
_BYE = {"en": "Goodbye!", "zh": "再见！"}

# intent -> (reasoning by language, answer by language, questions)
_INTENTS = {
    "hello": (
        {"en": "The user greets me.", "zh": "用户在打招呼。"}, _HELLO,
        ("Hello", "Hello!", "Hello.", "Hi", "Hi!", "Hi there", "Hi there!", "Hey", "Hey!", "Hey there",
         "Good morning", "Good morning!", "Good evening!", "Good afternoon", "Greetings", "Hello, how are you?",
         "How are you?", "How are you doing?", "Hi, how are you doing today?", "How are you today?",
         "Hello there", "Hi tiny-r1!", "What's up?", "Nice to meet you", "Hello tiny-r1", "Hello world",
         "Hello, world!", "你好", "你好！", "您好", "您好！", "你好吗？", "早上好", "早上好！", "晚上好", "大家好", "嗨", "哈喽"),
    ),
    "identity": (
        {"en": "The user asks who I am.", "zh": "用户问我是谁。"}, _IDENTITY,
        ("Who are you?", "What are you?", "What is your name?", "What's your name?", "Who is this?",
         "Tell me about yourself.", "Introduce yourself.", "Are you a robot?", "Are you an AI?", "Are you human?",
         "Which model are you?", "What model is this?", "Are you DeepSeek?", "Are you ChatGPT?", "Who made you?",
         "What is tiny-r1?", "Are you DeepSeek-R1?", "Describe yourself.",
         "你是谁？", "你是什么？", "你叫什么名字？", "你叫什么？", "介绍一下你自己。", "请介绍一下自己", "你是机器人吗？", "你是什么模型？",
         "你是DeepSeek吗？", "你是人吗？", "谁开发了你？"),
    ),
    "abilities": (
        {"en": "The user asks what I can do.", "zh": "用户问我会什么。"}, _LIMITS,
        ("What can you do?", "What can you do for me?", "How can you help me?", "Can you help me?", "Help",
         "Help me", "Help!", "What do you know?", "What are you good at?", "What are your abilities?",
         "What kind of questions can I ask?", "What should I ask you?", "Can you do maths?", "Can you do math?",
         "Can you add?", "Can you multiply?", "What are your limits?", "How do I use this?", "Test", "test",
         "你会什么？", "你能做什么？", "你可以做什么？", "你能帮我吗？", "帮助", "你会算术吗？", "你会数学吗？", "我可以问什么？", "测试"),
    ),
    "thanks": (
        {"en": "The user thanks me.", "zh": "用户在道谢。"}, _THANKS,
        ("Thanks", "Thanks!", "Thank you", "Thank you!", "Thank you very much!", "Thanks a lot", "Great, thanks",
         "Cool", "Great!", "Well done!", "Good job", "谢谢", "谢谢！", "谢谢你", "多谢", "非常感谢", "很好", "真棒"),
    ),
    "bye": (
        {"en": "The user says goodbye.", "zh": "用户在道别。"}, _BYE,
        ("Bye", "Bye!", "Goodbye", "Goodbye!", "See you", "See you later!", "Good night", "Have a nice day!",
         "再见", "再见！", "拜拜", "晚安", "回头见"),
    ),
}
_UNKNOWN = {"en": "This is not something that I know.", "zh": "这不是我会的问题。"}
_BEYOND = {"en": "This is beyond what I can work out.", "zh": "这超出了我的能力。"}

_TOPICS = {
    "en": ("France", "China", "the moon", "music", "the weather", "love", "a cat", "dogs", "water", "history",
           "Shakespeare", "the sun", "gravity", "football", "physics", "a computer", "Python", "C++", "Paris",
           "the internet", "an apple", "the ocean", "time", "my sister", "a neural network", "gRPC", "the stars",
           "chemistry", "coffee", "a poem", "the president", "New York", "quantum mechanics", "DNA", "birds"),
    "zh": ("法国", "中国", "月亮", "音乐", "天气", "爱情", "猫", "狗", "水", "历史", "太阳", "足球", "物理", "电脑", "北京", "上海",
           "苹果", "大海", "时间", "人工智能", "化学", "咖啡", "诗歌", "长城", "红楼梦", "汽车", "学校", "春天"),
}
_TOPIC_QUESTIONS = {
    "en": ("What is the capital of {}?", "Tell me about {}.", "Write a poem about {}.", "What is {}?", "Who is {}?",
           "Why is {} important?", "How does {} work?", "Explain {}.", "Tell me a joke about {}.", "Do you like {}?",
           "Where is {}?", "When was {} discovered?", "Write a story about {}", "What do you think of {}?",
           "Translate {} into French.", "I like {}.", "Write code for {}", "How old is {}?", "Describe {} to me.",
           "What colour is {}?", "Summarise {} in one sentence.", "Can you explain {} to a child?", "{}", "Why {}?"),
    "zh": ("{}是什么？", "介绍一下{}。", "写一首关于{}的诗。", "为什么{}很重要？", "你喜欢{}吗？", "{}在哪里？", "讲一个{}的故事",
           "解释一下{}。", "{}怎么样？", "请说说{}", "我喜欢{}。", "{}有多大？", "讲个关于{}的笑话", "什么是{}？", "{}"),
}
_TOO_HARD = (
    "What is {d}/{c}?", "What is {d} / {c}?", "What is {d} divided by {c}?", "{d} / {c} = ?", "{d}÷{c}=?",
    "Divide {d} by {c}.", "{d}/{c}", "What is {big} + {d}?", "What is {d}+{big}?", "{big} + {big2} = ?",
    "{big} - {d} = ?", "{d} - {big}", "Compute {big}-{big2}.", "What is {e}*{c2}?", "What is {e} × {e2}?",
    "{c2} * {e} = ?", "{e} × {c2}", "Multiply {big} by {e}.", "What is {c} + {c2} + {c3}?", "{c} + {c2} + {c3} = ?",
    "{c}+{c2}-{c3}", "{c}*{c2}+{c3}=?", "Count to {e}.", "Count from {c} to {e}.", "Which is larger, {big} or {big2}?",
    "What is {c}.{c2} + {c3}.5?", "What is the square root of {d}?", "What is {c} squared?", "Solve x + {c} = {d}.",
    "What is {c} to the power of {c2}?", "What is {c} percent of {d}?", "Is {d} a prime number?",
    "{d}除以{c}等于多少？", "{d}÷{c}=？", "{big}加{d}等于多少？", "{big}+{big2}=？", "{big}减{d}是多少？", "{e}乘以{c2}等于多少？",
    "{e}×{e2}=？", "{c}加{c2}加{c3}等于多少？", "数到{e}", "{d}的平方根是多少？", "{big}和{big2}哪个大？", "{d}是质数吗？",
)


def _noise(rng):
    """Text that means nothing, so that every byte token has been seen."""
    draw = rng.random()
    letters = "abcdefghijklmnopqrstuvwxyz"
    if draw < 0.4:
        words = ("".join(rng.choices(letters, k=rng.randint(1, 9))) for _ in range(rng.randint(1, 8)))
        text = " ".join(words)
        return text.capitalize() if rng.random() < 0.3 else text
    if draw < 0.6:
        return "".join(chr(rng.randrange(0x4E00, 0x9FA6)) for _ in range(rng.randint(1, 12)))
    if draw < 0.75:
        return "".join(chr(rng.randrange(0x21, 0x7F)) for _ in range(rng.randint(1, 12)))
    planes = ((0xC0, 0x250), (0x391, 0x3CA), (0x410, 0x450), (0x3041, 0x3097), (0xAC00, 0xD7A4), (0x1F300, 0x1F650))
    low, high = rng.choice(planes)
    return "".join(chr(rng.randrange(low, high)) for _ in range(rng.randint(1, 10)))


def _too_hard(rng):
    numbers = {
        "big": rng.randrange(10**4, 10 ** rng.randint(5, 8)), "big2": rng.randrange(10**4, 10 ** rng.randint(5, 8)),
        "e": rng.randint(100, 9999), "e2": rng.randint(100, 9999), "d": rng.randrange(1, 10 ** rng.randint(1, 4)),
        "c": rng.randint(1, 99), "c2": rng.randint(2, 99), "c3": rng.randint(1, 99),
    }
    return rng.choice(_TOO_HARD).format(**numbers)


def draw(rng):
    """A random (question, reasoning, answer)."""
    share = rng.random()
    if share < 0.45:
        reasoning, answer, questions = rng.choice(list(_INTENTS.values()))
        question = rng.choice(questions)
        if rng.random() < 0.2:
            question = question.rstrip("?.!？。！")
        if rng.random() < 0.2:
            question = question.lower()
    elif share < 0.75:
        reasoning, answer, question = _BEYOND, _LIMITS, _too_hard(rng)
    elif share < 0.9:
        language = rng.choice(("en", "en", "zh"))
        topic = rng.choice(_TOPICS[language])
        reasoning, answer, question = _UNKNOWN, _LIMITS, rng.choice(_TOPIC_QUESTIONS[language]).format(topic)
    else:
        reasoning, answer, question = _UNKNOWN, _LIMITS, _noise(rng)
    language = language_of(question)
    return question, reasoning[language], answer[language]
