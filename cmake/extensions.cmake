# `cmake --install` builds and installs the server-side extensions into the PostgreSQL whose pg_config is found; without
# one, or without the right to write there, it says so and goes on.
#
# HERDGATE_PG_CONFIG   another pg_config; "none": no extensions
set(HERDGATE_PG_CONFIG "" CACHE STRING "pg_config of the PostgreSQL that gets the extensions (empty: the one found; none)")
if(NOT HERDGATE_PG_CONFIG STREQUAL "none")
  install(CODE "
    if(NOT \"${HERDGATE_PG_CONFIG}\" STREQUAL \"\")
      set(ENV{PG_CONFIG} \"${HERDGATE_PG_CONFIG}\")
    endif()
    execute_process(COMMAND \"${CMAKE_SOURCE_DIR}/scripts/install_extensions\" --if-possible)" COMPONENT extensions)
endif()
