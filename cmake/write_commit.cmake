# cmake -D SOURCE=… -D COMMIT=… -D OUT=… -P write_commit.cmake
# Writes the header that names the commit: COMMIT, or what git says of SOURCE, or "unknown".
if(NOT COMMIT)
  execute_process(COMMAND git -C ${SOURCE} rev-parse --short=12 HEAD
    OUTPUT_VARIABLE COMMIT OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET)
endif()
if(NOT COMMIT)
  set(COMMIT unknown)
endif()
file(CONFIGURE OUTPUT ${OUT} CONTENT "#define THINKWIRE_COMMIT \"${COMMIT}\"\n")
