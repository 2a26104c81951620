cmake_policy(VERSION 3.25)
# Writes OUT with VERSION and the commit of ROOT (or COMMIT, where that is given); touches the file
# only when something changed.
set(commit unknown)
find_package(Git QUIET)
if(NOT "${COMMIT}" STREQUAL "")
  set(commit ${COMMIT})
elseif(GIT_FOUND)
  execute_process(COMMAND ${GIT_EXECUTABLE} -C ${ROOT} describe --always --dirty --abbrev=12
    OUTPUT_VARIABLE out OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET RESULT_VARIABLE rc)
  if(rc EQUAL 0)
    set(commit ${out})
  endif()
endif()
file(CONFIGURE OUTPUT ${OUT} CONTENT
"#define GATT2MQTT_VERSION \"@VERSION@\"\n#define GATT2MQTT_COMMIT \"@commit@\"\n" @ONLY)
