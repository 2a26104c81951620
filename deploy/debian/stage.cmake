# Runs in CPack between the installation into a folder and the packaging of that folder.
set(root ${CPACK_TEMPORARY_INSTALL_DIRECTORY})
set(debian ${CPACK_GATT2MQTT_DEBIAN})
set(doc ${root}/usr/share/doc/gatt2mqtt)

function(place file directory name)
  file(MAKE_DIRECTORY ${directory})
  file(COPY_FILE ${file} ${directory}/${name})
  file(CHMOD ${directory}/${name} PERMISSIONS OWNER_READ OWNER_WRITE GROUP_READ WORLD_READ)
endfunction()

place(${debian}/config.yaml ${root}/etc/gatt2mqtt config.yaml)
place(${debian}/copyright ${doc} copyright)
execute_process(
  COMMAND awk -v "maintainer=${CPACK_PACKAGE_CONTACT}" -f ${debian}/changelog ${debian}/../CHANGES.md
  OUTPUT_FILE ${doc}/changelog COMMAND_ERROR_IS_FATAL ANY)
file(GLOB_RECURSE pages ${root}/usr/share/man/*)
execute_process(COMMAND gzip -9n ${doc}/changelog ${pages} COMMAND_ERROR_IS_FATAL ANY)
