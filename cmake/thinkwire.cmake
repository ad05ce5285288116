# What every target of the project shares: warnings, include root, sanitizers, and how a test is
# declared.

add_library(thinkwire_flags INTERFACE)
target_include_directories(thinkwire_flags INTERFACE ${PROJECT_SOURCE_DIR})
set(host_warnings -Wall -Wextra)
set(cuda_warnings -Xcompiler=-Wall,-Wextra)  # for the host's part of a .cu
if(THINKWIRE_WERROR)
  list(APPEND host_warnings -Werror)
  list(APPEND cuda_warnings -Werror=all-warnings)
endif()
target_compile_options(thinkwire_flags INTERFACE
  "$<$<COMPILE_LANGUAGE:CUDA>:${cuda_warnings}>"
  "$<$<COMPILE_LANGUAGE:CXX>:${host_warnings}>")
target_compile_options(thinkwire_flags INTERFACE
  $<$<COMPILE_LANG_AND_ID:CXX,GNU>:-Wno-restrict>  # GCC 12 sees overlap where std::string copies (PR 105651)
  $<$<COMPILE_LANG_AND_ID:CXX,Clang>:-Wthread-safety>)
if(THINKWIRE_SANITIZE)
  target_compile_options(thinkwire_flags INTERFACE
    -fsanitize=${THINKWIRE_SANITIZE} -fno-omit-frame-pointer -fno-sanitize-recover=all)
  target_link_options(thinkwire_flags INTERFACE -fsanitize=${THINKWIRE_SANITIZE})
endif()

# Binaries look for shared libraries where deploy/bundle.sh lays them. The old-style run path holds
# for the libraries' own libraries too.
set(CMAKE_BUILD_RPATH "\$ORIGIN/../lib")
add_link_options(LINKER:--disable-new-dtags)

# thinkwire_library(name SRCS a.cc … [DEPS lib …]): a static library of one room. DEPS are public,
# as each room's headers show what they depend on.
function(thinkwire_library name)
  cmake_parse_arguments(ARG "" "" "SRCS;DEPS" ${ARGN})
  add_library(${name} STATIC ${ARG_SRCS})
  target_link_libraries(${name} PUBLIC thinkwire_flags ${ARG_DEPS})
endfunction()

add_custom_target(unit_tests COMMENT "Every test binary with the label unit")

# thinkwire_test(name SRCS a_test.cc … [DEPS lib …] [LABEL unit|integration|gpu]): one GoogleTest
# binary; each of its tests is a ctest test with that label (unit unless said). Tests run in
# their source folder's root so that they find tests/data.
function(thinkwire_test name)
  cmake_parse_arguments(ARG "" "LABEL" "SRCS;DEPS" ${ARGN})
  if(NOT ARG_LABEL)
    set(ARG_LABEL unit)
  endif()
  add_executable(${name} ${ARG_SRCS})
  target_link_libraries(${name} PRIVATE thinkwire_flags ${ARG_DEPS}
    GTest::gmock GTest::gtest_main)
  if(ARG_LABEL STREQUAL unit)
    add_dependencies(unit_tests ${name})
  endif()
  gtest_discover_tests(${name}
    WORKING_DIRECTORY ${PROJECT_SOURCE_DIR}
    DISCOVERY_TIMEOUT 60
    PROPERTIES LABELS ${ARG_LABEL} TIMEOUT 300)
endfunction()
