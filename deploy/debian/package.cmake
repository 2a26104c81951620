# The Debian package, by CPack: `deploy/package` builds it. What only it has (the configuration, the
# changelog, compressed manuals) is added by stage.cmake.
set(CPACK_GENERATOR DEB)
set(CPACK_PACKAGE_NAME gatt2mqtt)
set(CPACK_PACKAGE_VERSION ${PROJECT_VERSION})
set(CPACK_PACKAGE_CONTACT "The gatt2mqtt maintainers <maintainers@gatt2mqtt.invalid>")
set(CPACK_PACKAGE_DIRECTORY ${PROJECT_SOURCE_DIR}/build)
set(CPACK_PACKAGING_INSTALL_PREFIX /usr)
set(CPACK_STRIP_FILES ON)
set(CPACK_INSTALL_DEFAULT_DIRECTORY_PERMISSIONS
  OWNER_READ OWNER_WRITE OWNER_EXECUTE GROUP_READ GROUP_EXECUTE WORLD_READ WORLD_EXECUTE)
set(CPACK_PRE_BUILD_SCRIPTS ${CMAKE_CURRENT_LIST_DIR}/stage.cmake)
set(CPACK_GATT2MQTT_DEBIAN ${CMAKE_CURRENT_LIST_DIR})

set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
set(CPACK_DEBIAN_PACKAGE_SECTION net)
set(CPACK_DEBIAN_PACKAGE_PRIORITY optional)
set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS ON)
# Paho is opened while it runs (src/mqtt/paho.c), so that no program for library dependencies finds it.
set(CPACK_DEBIAN_PACKAGE_DEPENDS
  "libpaho-mqtt1.3 | libpaho-mqtt1.3t64, bluez, default-dbus-system-bus | dbus-system-bus, systemd | systemd-standalone-sysusers | systemd-sysusers")
set(CPACK_DEBIAN_PACKAGE_SUGGESTS "mosquitto, mosquitto-clients")
set(CPACK_PACKAGE_DESCRIPTION_SUMMARY "bridge between Bluetooth LE peripherals and MQTT")
set(CPACK_DEBIAN_PACKAGE_DESCRIPTION
"gatt2mqtt finds the Bluetooth LE peripherals that a YAML file names, keeps
them connected, publishes what they notify to an MQTT broker, and turns
messages on command topics into GATT writes and reads. Home Assistant finds
the devices by itself.

It works on top of BlueZ, as a user without privileges.")
foreach(file postinst prerm postrm conffiles)
  list(APPEND CPACK_DEBIAN_PACKAGE_CONTROL_EXTRA ${CMAKE_CURRENT_LIST_DIR}/${file})
endforeach()
set(CPACK_DEBIAN_PACKAGE_CONTROL_STRICT_PERMISSION ON)
include(CPack)
