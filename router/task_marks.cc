#include "router/task_marks.h"

namespace thinkwire::router {
namespace {

constexpr TaskMarks kSpaced[] = {
    {Task::kMath, 1,
     "solve for, prove, prove that, proof, theorem, equation, equations, integral, "
     "derivative, differentiate, integrate, polynomial, triangle, integers, integer, "
     "probability, odds, remainder, divisible, factorial, modulo, square root, logarithm, "
     "ln, matrix, eigenvalue, eigenvalues, determinant, hypotenuse, circumference, "
     "perimeter, algebra, calculus, trigonometry, combinatorics, permutations, quadratic, "
     "how many, how much, prime numbers, prime number, real numbers, natural numbers, "
     "expected value, standard deviation, percent of, least common, greatest common, "
     "sum of, product of, calculate the, compute the, work out, dice, inequality, "
     "converges, diverges, vertices, bijection, p-value, confidence interval, break even, "
     "fair split, closed form, by induction, counterexample, modulus, divisors, symmetric, "
     "convex, bounded, berechne, wie viel, wie viele, wieviel, beweise, wahrscheinlichkeit, "
     "gleichung, ableitung, prozent, zinsen, wurzel, combien, calcule, calculer, démontrer, "
     "probabilité, équation, dérivée, pourcentage, cuánto, cuántos, cuánta, cuántas, "
     "calcula, demuestra, probabilidad, ecuación, derivada, porcentaje, odds of, "
     "chance that, chances, how likely, likely, what is the probability, what are the odds, "
     "show that, show there is, find x, find the value, find the number, evaluate, "
     "simplify, factor, factorise, factorize, expand, roots of, root of, maximum of, "
     "minimum of, maximize, minimize, limit of, converge, series, sequence, arithmetic, "
     "geometric series, vector, vectors, plane, tangent, slope, parabola, ellipse, sphere, "
     "cube, cylinder, cone, volume, diagonal, median, variance, mean, distribution, "
     "combinations, arrangements, distinct, subsets, graph theory, mod, gcd, lcm, prime, "
     "primes, compound interest, annual interest, per year, monthly payment, down payment, "
     "markup, profit, gain, increase of, percentage, percentage points, continuous, "
     "differentiable, group, ring, field extension, isomorphic, rational, irrational, "
     "wie hoch ist die, wie groß ist, wie groß, wie schnell, zeige, zeigen sie, löse, "
     "lösung der, nullstellen, ableiten, integriere, durchschnittlich, pro jahr, rabatt, "
     "montre que, montrer que, résous, résoudre, combien de temps, "
     "quelle est la probabilité, en moyenne, taux, remise, demuestre, resuelve, resolver, "
     "cuánto tiempo, cuál es la probabilidad, descuento, promedio, interés"},
    {Task::kMath, 0.5,
     "calculate, compute, sum, product, angle, radius, area, average, percent, ratio, "
     "digits, digit, number, numbers, fraction, cost, costs, total, twice, half, third, "
     "thirds, per hour, each, remaining, solve, find all, coins, miles, km, discount, "
     "interest, square, circle, how long, how far, how old, at what time, what time, "
     "together, dollars, euros, shares, split, equally, older, younger, faster, altogether, "
     "left over, draw, drawn, random, exactly, at least, rate, instalments, loan, "
     "wie lange, wie weit, wie alt, zusammen, insgesamt, euro, pro, minute, stunde, hälfte, "
     "durchschnitt, ensemble, moitié, heures, vitesse, kilómetros, hora, horas, mitad, "
     "juntos, qué hora, media, one, two, three, four, five, six, seven, eight, nine, ten, "
     "twenty, thirty, forty, fifty, sixty, hundred, thousand, zwei, drei, vier, fünf, deux, "
     "trois, quatre, dos, tres, cuatro"},
    {Task::kCode, 1.5,
     "python, javascript, typescript, java, c++, rust, golang, sql, html, css, bash, "
     "powershell, regex, kotlin, php, ruby, haskell, dockerfile, docker, kubernetes, "
     "kubectl, makefile, cmake, npm, pip, git, crontab, cron job, nginx, terraform, "
     "ansible, yaml, react, django, pandas, numpy, excel, spreadsheet, sheets, vba, "
     "segfault, traceback, stack trace, undefined reference, segmentation fault, "
     "null pointer, unit test, unit tests, goroutines, go function, pull request, "
     "merge conflict, rebase, systemd, ssh, webpack, pytest, junit, postgres, mysql, "
     "sqlite, redis, tabelle in excel, sverweis, compilar, kompilieren, compiler, "
     "stacktrace, compiler error, syntax error, type error, typeerror, keyerror, "
     "valueerror, nullpointerexception, import error, exit code, core dump, valgrind, gdb, "
     "lldb, makefiles, bazel, gradle, maven, node, nodejs, vue, angular, svelte, flask, "
     "fastapi, spring, laravel, rails, dotnet, scala, elixir, erlang, ocaml, lua, perl, "
     "matlab, r script, julia, swift, swiftui, dart, flutter, assembly, wasm, opengl, cuda, "
     "pytorch, tensorflow, mongodb, elasticsearch, kafka, rabbitmq, graphql, grpc, "
     "protobuf, oauth, jwt, cors, websocket, github, gitlab, jenkins, ci pipeline, "
     "github actions, helm, ingress, iptables, awk, sed, grep, jq, curl, rsync, zsh, "
     "shell script, bash script, batch file, macro, vlookup, xlookup, pivot, google sheets, "
     "sumifs, regexp, regular expression, dataframe, list comprehension, lambda, decorator, "
     "generator, iterator, closure, const, static, virtual, segfaults, stack overflow, "
     "heap, big o, refactoring, linter, eslint, clang-tidy, mypy, type hints, generics, "
     "interface, subquery, left join, group by, window function, select, update, "
     "where clause, migration, orm, stored procedure, trigger, cronjob, daemon, port, "
     "localhost, environment variable, env, dotfiles, vim, vscode"},
    {Task::kCode, 0.75,
     "code, function, compile, debug, refactor, api, algorithm, recursion, linked list, "
     "binary search, hash map, hashmap, json, script, exception, implement, program, "
     "programming, class, struct, pointer, template, query, endpoint, thread, mutex, "
     "deadlock, race condition, codebase, csv, column, columns, table, join, index, deploy, "
     "container, build, branch, commit, merge, error, crash, crashes, loop, array, string, "
     "null, undefined, formula, cell, folder, files, rename, parse, parser, library, cli, "
     "async, callback, schema, insert, foreign key, memory leak, log, logs, http, url, "
     "header, token, cache, database, funktion, fehler, zeile, spalte, formel, skript, "
     "programm, datei, fonction, erreur, fichier, colonne, formule, función, clase, método, "
     "archivo, fórmula, columna, consulta"},
    {Task::kScience, 1,
     "physics, chemistry, biology, molecule, molecules, molecular, enzyme, protein, "
     "proteins, dna, rna, atom, atoms, electron, electrons, proton, neutron, quantum, "
     "entropy, thermodynamics, velocity, acceleration, gravity, gravitational, magnetic, "
     "voltage, resistor, capacitor, circuit, reaction, acid, acids, ph, molar, oxidation, "
     "catalyst, photosynthesis, mitochondria, evolution, species, genes, gene, bacteria, "
     "virus, planet, planets, galaxy, telescope, orbit, wavelength, photon, semiconductor, "
     "polymer, isotope, radioactive, half-life, relativity, friction, torque, momentum, "
     "kinetic, newton, joules, kelvin, turbine, reactor, alloy, tectonic, climate, ozone, "
     "neurons, hormone, hormones, immune, vaccine, antibiotic, antibiotics, boiling, vapor, "
     "crystal, superconductors, superconducting, plasma, derive, vibration, bearing, "
     "oscillation, induction, three-phase, conductivity, corrosion, diffusion, insulation, "
     "condensation, humidity, viscosity, resonance, spectrum, laser, lens, pump, "
     "heat exchanger, current, combustion, fermentation, insulin, kidney, liver, muscle, "
     "muscles, bloodstream, cells, cell, organic, yeast, glucose, strom, spannung, druck, "
     "reibung, feuchtigkeit, kondenswasser, schwerkraft, gravité, pression, tension, "
     "presión, gravedad, why, how come, warum, wieso, weshalb, pourquoi, por qué, motor, "
     "beam, kwh, what causes, what happens when, what happens if, how does a, "
     "how do plants, electrolyte, electrolysis, distillation, chlorophyll, hemoglobin, "
     "cholesterol, mutation, chromosome, chromosomes, ribosome, allele, solvent, solution, "
     "equilibrium, exothermic, endothermic, enthalpy, stoichiometry, titration, buffer, "
     "refractive, refraction, diffraction, interference, doppler, inertia, centripetal, "
     "projectile, buoyancy, bernoulli, reynolds, laminar, turbulent, hydraulic, pneumatic, "
     "compressor, inverter, transformer, transistor, diode, mosfet, op-amp, impedance, "
     "inductance, capacitance, antenna, bandwidth, modulation, fatigue, yield strength, "
     "tensile, weld, welding, bolt, gear, gearbox, shaft, truss, foundation, heat pump, "
     "evaporate, evaporation, condense, sublimation, osmosis, microwave, infrared, "
     "ultraviolet, radiation, uranium, helium, hydrogen, oxygen, nitrogen, carbon dioxide, "
     "co2, methane, sodium, calcium, iron, copper, aluminium, aluminum, lithium, asteroid, "
     "comet, eclipse, tides, volcano, earthquake, magma, glacier, erosion, ecosystem, "
     "pollination, caffeine, alcohol, metabolism, adrenaline, dopamine, fever, infection, "
     "allergy, allergic, watt, watts, volt, volts, ampere, amps, hertz, decibel, pascal, "
     "bar of pressure, energie, kraft, transformator, widerstand, wärmepumpe, zelle, "
     "zellen, bakterien, stern, erde, magnetfeld, sauerstoff, énergie, force, moteur, "
     "cellule, cellules, bactéries, terre, étoile, oxygène, résistance, energía, fuerza, "
     "célula, células, bacterias, tierra, estrella, oxígeno, resistencia, imán"},
    {Task::kScience, 0.7,
     "comment se fait-il, sky, ice, moon, sun, water, clouds, cloud, heat, sound, light, "
     "air, temperature, freeze, freezes, frozen, float, floats, sink, rain, snow, wind, "
     "earth, ocean, sea, salt, steam, pressure, weight, density, metal, steel, glass, "
     "concrete, wood, plants, plant, leaves, tree, trees, bird, birds, bees, insects, fish, "
     "blood, brain, skin, eyes, sleep, hear, smell, taste, battery, engine, wire, cable, "
     "electricity, stress, load, stars, star, crack, cracks, rust, rusts, melt, melts, "
     "smoke, flame, fire, magnet, lightning, thunder, rainbow, echo, mirror, warm, cold, "
     "luft, wasser, wärme, kälte, eis, licht, himmel, sonne, mond, grad, feucht, feuchter, "
     "keller, putz, risse, rost, eau, glace, ciel, lune, soleil, chaleur, froid, lumière, "
     "bruit, métal, agua, hielo, cielo, luna, sol, calor, frío, luz, calefacción, invierno, "
     "how does, how do, what makes, is it true that, boil, boils, cool, cools, colder, "
     "warmer, dry, wet, bread, dough, milk, egg, eggs, coffee, tea, sugar, oil, soap, "
     "vinegar, fridge, oven, kettle, pan, plane, planes, airplane, wings, car, tyre, tire, "
     "bicycle, brakes, boat, ship, bridge, tunnel, roof, wall, window, radiator, pipe, "
     "pipes, valve, leak, tank, noise, vibrate, vibrates, spin, spinning, rotate, fall, "
     "gas, liquid, solid, bubbles, foam, dust, colour, color, blue, green, red, purple, "
     "shadow, night, winter, summer, cat, cats, dog, dogs, spider, spiders, mosquito, "
     "mosquitoes, lungs, heart, bones, teeth, hair, wasserdampf, blut, herz, hund, katze, "
     "brot, milch, wand, fenster, rohr, rohre, heizung, geräusch, sang, coeur, chien, chat, "
     "pain, lait, mur, tuyau, sangre, corazón, perro, gato, leche, pared"},
    {Task::kWriting, 1.5,
     "write a, write an, write me, write some, essay, poem, haiku, sonnet, short story, "
     "blog post, cover letter, speech, slogan, tagline, lyrics, screenplay, dialogue, "
     "rewrite, rephrase, reword, paraphrase, proofread, newsletter, press release, eulogy, "
     "limerick, product description, polish, fairy tale, invitation, flyer, translate, "
     "translation, shorten, sound less, sound more, friendlier, more polite, less formal, "
     "more formal, make this, make it sound, leaflet, draft a, draft an, birthday card, "
     "toast, caption, headline, subject line, linkedin post, job ad, out-of-office, "
     "correct the, fix the grammar, spelling, wording, verse, rhyme, schreib, schreibe, "
     "schreiben sie, formuliere, formulier, übersetze, übersetz, korrigiere, gedicht, "
     "absage, anschreiben, einladung, leichte sprache, umformulieren, kürze, entwurf, "
     "rédige, rédiger, écris, écrire, traduis, traduire, corrige, corriger, reformule, "
     "reformuler, plus fluide, lettre, poème, escribe, escribir, redacta, redactar, "
     "traduce, traducir, reescribe, carta, poema, discurso, a poem, a letter, an email, "
     "an e-mail, a mail to, a speech, a reply, reply to, answer to the, two paragraphs, "
     "one paragraph, a paragraph, three sentences, put into words, phrase, "
     "how would you phrase, in the style of, in the tone, a bit of humour, no jargon, "
     "for the newsletter, for our website, about page, for the website, bio, blurb, teaser, "
     "farewell, wedding, congratulate, congratulations, obituary, a comment, a title, "
     "titles for, names for, a name for, a paragraph about, into english, into german, "
     "into french, into spanish, into chinese, to english, to german, to french, "
     "in english, auf englisch, auf deutsch, ins englische, ins deutsche, en anglais, "
     "en français, al inglés, al español, en inglés, gruß, grußkarte, rechtschreibung, "
     "bitte verfassen, verfasse, text für, einen text, freundlicher, höflicher, kürzer, "
     "plus poli, plus court, un mail, un e-mail, un courriel, un texte, une annonce, "
     "un discours, un poema, un texto, un correo, una carta, más formal, más amable, "
     "más corto, make it shorter, tighten, smoother, more concise, less stiff, nicer, "
     "sound human, sounds human, plain english, plain language, punchy, catchy, slogans, "
     "motto, jingle"},
    {Task::kWriting, 0.75,
     "write, draft, compose, letter, email, mail, story, song, tweet, tone, persuasive, "
     "narrative, monologue, invite, post, text for, letterbox, announcement, apology, "
     "thank you, condolence, verein, rede, brief, ton, texte, message, mensaje, texto, "
     "correo"},
    {Task::kExtraction, 1.5,
     "extract, summarize, summarise, summary, tl;dr, key points, main points, "
     "bullet points, following text, following passage, following article, text below, "
     "passage below, article below, email below, based on, identify all, named entities, "
     "classify, in the text, the transcript, the document, this document, this article, "
     "this text, this passage, action items, return only, sentiment, entities, mentioned, "
     "condense, which of these, of these, out of this, from this, in this list, list all, "
     "list the, pull out, pick out, in one sentence, in two sentences, gist, boil down, "
     "highest first, make a table, only the, what changed, what differs, compare the two, "
     "fass, fasse, zusammenfassen, liste, extrahiere, welche der, nur die, résume, résumer, "
     "extrais, liste les, dans ce texte, lesquels, resume, resumir, extrae, extraer, lista, "
     "de esta, de estos, qué cosas, cuáles"},
    {Task::kExtraction, 0.6,
     "according to, from the, these, only, nothing else, no other, fields, invoice, "
     "mentions, which, who, when, where, deadline, dates, names, skip, leave out, below, "
     "following, convert, i need, just the, give me, attached, log, notes, minutes, welche, "
     "wer, wann, nur, quels, quelles, qui, quand, seulement, qué, quién, cuándo, solo, "
     "fecha, lugar"},
    {Task::kGeneral, 0.7,
     "should i, advice, recommend, recommendation, etiquette, my boss, my wife, my husband, "
     "my partner, my sister, my brother, my mother, my father, grandmother, grandma, "
     "friends, friend, opinion, worth it, career, salary, interview, job, hobby, vacation, "
     "holiday, trip, travel, restaurant, gift, present for, explain to, layman, "
     "in simple words, simple terms, difference between, what is a, what is an, who is, "
     "who was, tips, ideas, what do you think, how do i, hello, hi, thanks, colleague, "
     "colleagues, coworker, boss, politely, normal to, rude, decide, soll ich, empfehlung, "
     "empfehlen, tipps, was ist, chef, kollege, oma, geschenk, urlaub, dois-je, conseil, "
     "conseils, cadeau, vacances, debo, debería, consejo, regalo, vacaciones, jefe, people, "
     "everyone, everybody, someone, somebody, is it ok, is it okay, is it normal, "
     "is it worth, worth learning, better to, better for, which is better, "
     "which is the better, pros and cons, what should, where should, where can i, when is, "
     "which city, which country, capital of, how can i, how should i, learn, learning, "
     "study, course, school, university, kids, children, son, daughter, parents, landlord, "
     "neighbour, neighbor, neighbours, rent, move, moving, dinner, lunch, cook, recipe, "
     "movie, movies, book, books, series, game, games, sport, weekend, birthday, meeting, "
     "meetings, manager, team, promotion, raise, resign, quit, notice, tax, insurance, "
     "visa, passport, train, flight, hotel, beginner, in plain words, like i'm five, "
     "for a child, my grandmother, non-technical, without jargon, metaphor, analogy, "
     "history of, when did, wer ist, wer war, wo kann, welches, lohnt sich, lernen, kinder, "
     "eltern, vermieter, nachbarn, miete, umzug, rezept, buch, film, gehalt, où puis-je, "
     "quel est, quelle est, vaut-il, apprendre, enfants, voisins, loyer, livre, salaire, "
     "cuál es, dónde, vale la pena, aprender, niños, vecinos, alquiler, libro, película, "
     "sueldo, mejor"},
    {Task::kExtraction, 1,
     "who is, who are, which ones, what are the, how often is, what does it say, "
     "does it say, what is said, is mentioned, appear in, occur in, from the log, "
     "in the log, from the mail, in this mail, in the mail, from the text, as json, "
     "as a table, as csv, as a list, in a list, a list of, name all, table of, all names, "
     "all dates, phone numbers, addresses, order number, order numbers, the amounts, "
     "key facts, fact sheet, summary of, abstract, overview of, short version, tldr, "
     "in one line, in three bullets, bullets, category, categories, label each, "
     "group by topic, positive or negative, was steht, worum geht, stichpunkte, "
     "stichpunkten, in einem satz, aus dem text, aus der, auflisten, liste auf, tabelle, "
     "points clés, en une phrase, en deux phrases, en un tableau, quelles sont, quels sont, "
     "puntos clave, en una frase, en dos frases, una tabla, qué dice, ¿qué, quiénes"},
};

constexpr TaskMarks kUnspaced[] = {
    {Task::kMath, 1,
     "方程, 求解, 证明, 概率, 三角形, 多少, 面积, 整数, 导数, 积分, 数列, 余数, 计算, "
     "最大值, 最小值, 质数, 素数, 不等式, 矩阵, 平均, 半径, 解下列, 因式分解, 体积, 几岁, "
     "多久, 几天, 几小时, 几个人, 百分之, 利率, 求, 倍, 一共, 何人, 何個, いくつ, いくら, "
     "確率, 方程式, 積分, 微分, 何通り, 何分, 証明, 割引, 合計, 何円, 利息, 多大, 多少种, "
     "几种, 几次, 最多, 最少, 至少, 分之, 利润, 成本价, 打几折, 年利率, 贷款, 速度是, 相遇, "
     "追上, 甲, 公倍数, 公约数, 证, 若, 设, 极限, 收敛, 向量, 函数的, 等比, 等差, 期望, "
     "求めよ, 求めなさい, 示せ, 何本, 何回, 何枚, 何歳, 何時間, 何日, 何キロ, 分の, 最大, "
     "最小, 面積, 体積, 確率は"},
    {Task::kMath, 0.4,
     "正好, 每人, 平均每, 小时, 分钟, 千米, 公里, 打折, 月供, 共有, 两个, 三个, 四个, "
     "六小时, 八小时, ずつ, 余り, 人は, 時速, 毎"},
    {Task::kCode, 1.5,
     "代码, 编程, 程序, 脚本, 报错, 数据库, 调试, 编译, 正则, 公式, 表格, 小程序, 后端, "
     "前端, 接口返回, 函数, コード, 関数, エラー, スクリプト, プログラム, コンパイル, "
     "シェル, クエリ"},
    {Task::kCode, 0.75,
     "算法, 接口, 实现一个, 报, 列, 循环, 配置, 部署, 线程, 内存, 训练, 字段, 日志, 変数, "
     "配列, 実装, ファイル"},
    {Task::kScience, 1,
     "物理, 化学, 生物, 细胞, 分子, 原子, 电子, 量子, 反应, 光合作用, 基因, 病毒, 引力, "
     "加速度, 电流, 电压, 电路, 能量, 蛋白质, 行星, 恒星, 波长, 磁场, 密度, 半导体, 细菌, "
     "材料, 原理, 轴承, 振动, 半導体, 電圧, 電流, 細胞, 遺伝, 重力, 気圧, 温度, 酸, 沸点, "
     "压强, 摩擦, 电阻, 电池, 免疫, 为何, 怎么形成, 什么原因, 会发生什么, 氧, 氢, 碳, 铁, "
     "铜, 金属, 蒸发, 凝固, 沸腾, 结冰, 磁, 辐射, 红外, 紫外, 微波, 地震, 火山, 潮汐, 星, "
     "月球, 地球, 飞机, 轮胎, 桥, 心脏, 大脑, 消化, 激素, 疫苗, 过敏, 发酵, 电机, 变压器, "
     "电容, 二极管, 螺栓, 焊接, 疲劳, 应力, 热泵, 冷凝, 何故, のはなぜ, 仕組み, 磁石, 酸素, "
     "水素, 心臓, 脳, 筋肉, 発酵, 凍, 沸騰, 蒸発, 虹, 雷, 光の, 電池, モーター, 細菌, "
     "ウイルス"},
    {Task::kScience, 0.8,
     "为什么, 为啥, 怎么会, 是怎么回事, なぜ, どうして, 天空, 冰, 月亮, 太阳, 水面, 速度, "
     "热, 冷, 声音, 光, 空気, 音, 氷, 空は, 月が, 耳, 湿度, 生锈, 下雨, 植物, 动物, 血液, "
     "静电"},
    {Task::kWriting, 1.5,
     "写一, 作文, 诗, 故事, 文案, 演讲, 润色, 改写, 散文, 小说, 写封, 写个, 写段, 歌词, "
     "标语, 翻译, 祝福, 改得, 开头, 请假条, 通顺, 语气, 措辞, 书いて, 書いて, 直して, 翻訳, "
     "訳して, 言い換え, 文章を自然, 手紙, 挨拶, スピーチ, 俳句, 帮我写, 起草, 拟一, 撰写, "
     "写成, 改成, 改短, 口号, 标题, 自我介绍, 推荐信, 道歉信, 感谢信, 通知, 公告, 朋友圈, "
     "广告语, 英文, 译成, 翻成, 贺词, 致辞, 简历, 委婉, 书面, 顺一下, 精简, 書いてほしい, "
     "書き直, 添削, 丁寧な, 自然な日本語, 英訳, 和訳, 英語に, 日本語に, 紹介文, 案内文, "
     "謝罪文, お礼, 招待, タイトル, 詩を"},
    {Task::kWriting, 0.75, "邮件, 发给客户, 客气, 一句话, メール, お詫び, 文面"},
    {Task::kExtraction, 1.5,
     "总结, 摘要, 提取, 概括, 归纳, 根据以下, 以下文章, 以下文本, 下面这段, 列出, 要点, "
     "找出, 文中, 分类, 要約, 抜き出, まとめて, 一覧, 箇条書き, 哪些, 聊天记录, 下面是, "
     "这条新闻, 这篇, 只要告诉我, 列个清单, 看看, 以下の, 次の文章, 从, 整理成, 做成表, "
     "表格形式, 提炼, 摘出, 标出, 有哪些人, 都提到, 提到了, 分别是, 涉及, 一句话概括, "
     "说了什么, 讲了什么, 主要内容, 下文, 上面, 日志里, 合同里, 邮件里, 里面, 中找, 统计出, "
     "抜粋, 抽出, 要点を, 箇条書きに, リスト, 表に, 以下から, 次のメール, 次のログ, どの, "
     "誰が, いつまで, 何時, 書かれて"},
    {Task::kExtraction, 0.6, "只要, 只需, 几号, 谁, 哪几, 整理, 挑出, どれ, だけ, いつ, 誰"},
    {Task::kGeneral, 0.7,
     "你好, 推荐, 建议, 怎么办, 该不该, 要不要, 大家都说, 不带术语, 奶奶, 领导, 同事, 工作, "
     "旅游, 礼物, おすすめ, アドバイス, べきですか, とは, 上司, 同僚, 大家, 怎么样, 哪个好, "
     "值得, 适合, 学什么, 选哪, 区别是什么, 孩子, 父母, 邻居, 房东, 租房, 面试, 跳槽, 工资, "
     "辞职, 旅行, 吃什么, 电影, 书, 打个比方, 通俗, 外行, どう思う, どちらが, どうすれば, "
     "何がいい, 子ども, 親, 転職, 給料, 料理, 映画, 本を, わかりやすく, 初心者"},
};

}  // namespace

std::span<const TaskMarks> SpacedMarks() { return kSpaced; }
std::span<const TaskMarks> UnspacedMarks() { return kUnspaced; }

}  // namespace thinkwire::router
