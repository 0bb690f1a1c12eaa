# PostgreSQL's own grammar as a static library: target pg_query, from the sources of libpg_query 17.
#
# Only what raw_parser needs is compiled; the parts that turn trees into JSON, protobuf or text again, the PL/pgSQL
# parser, fingerprints and normalization stay out: they recurse without a limit and cost ten times the parse. So do
# PostgreSQL's functions that copy, compare and locate trees; src/sql/pg_substitutes.c stands in for them.
# LIBPG_QUERY_DIR   a folder with the sources; empty = fetched into the cache folder by scripts/fetch_libpg_query.
set(LIBPG_QUERY_DIR "" CACHE PATH "sources of libpg_query 17 (empty: fetched)")

set(pg_query_dir ${LIBPG_QUERY_DIR})
if(NOT pg_query_dir)
  execute_process(COMMAND ${CMAKE_SOURCE_DIR}/scripts/fetch_libpg_query
    OUTPUT_VARIABLE pg_query_dir OUTPUT_STRIP_TRAILING_WHITESPACE RESULT_VARIABLE pg_query_status)
  if(pg_query_status)
    message(FATAL_ERROR "could not fetch libpg_query; give -DLIBPG_QUERY_DIR=<sources of libpg_query 17>")
  endif()
endif()
if(NOT EXISTS ${pg_query_dir}/src/postgres/src_backend_parser_gram.c)
  message(FATAL_ERROR "${pg_query_dir} does not hold the sources of libpg_query")
endif()

file(GLOB pg_query_sources ${pg_query_dir}/src/postgres/*.c)
list(FILTER pg_query_sources EXCLUDE REGEX "src_pl_plpgsql|utils_adt_ruleutils|nodes_(equal|copy|node)[fF]uncs")
add_library(pg_query STATIC ${pg_query_sources} ${pg_query_dir}/src/pg_query.c ${CMAKE_SOURCE_DIR}/src/sql/pg_substitutes.c)
set(pg_query_includes ${pg_query_dir} ${pg_query_dir}/vendor ${pg_query_dir}/src/include
  ${pg_query_dir}/src/postgres/include)
target_include_directories(pg_query PRIVATE ${pg_query_includes})
# PostgreSQL's C relies on wrapping integers and on type punning.
target_compile_options(pg_query PRIVATE -w -O2 -g1 -fno-strict-aliasing -fwrapv -ffunction-sections -fdata-sections)
if(HERDGATE_SANITIZE MATCHES "address")
  target_compile_options(pg_query PRIVATE -fsanitize=address)
endif()
if(HERDGATE_FUZZ)
  target_compile_options(pg_query PRIVATE -fsanitize=fuzzer-no-link)
endif()

# The C headers are for src/sql/pg_*.cc alone, so they are no include directories of the target.
file(GLOB pg_query_users CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/src/sql/pg_*.cc)
set(pg_query_flags "")
foreach(dir ${pg_query_includes})
  list(APPEND pg_query_flags -isystem ${dir})
endforeach()
set_source_files_properties(${pg_query_users} PROPERTIES COMPILE_OPTIONS "${pg_query_flags}")
