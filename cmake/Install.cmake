# SPDX-License-Identifier: Apache-2.0
# cmake --install BUILD --prefix PREFIX: the program with its modules in lib/dualparal/, its data (configs/, models/) in
# share/dualparal/, where it looks for them, and the command in bin/. LibTorch stays where it is (RPATH), unless
# --component relocatable: that is all but bin/, and finds its libraries by LD_LIBRARY_PATH alone (the wheel).
include(GNUInstallDirs)
set(program_dir lib/dualparal)
set(data_dir ${CMAKE_INSTALL_DATADIR}/dualparal)

foreach(component program relocatable)
  if(component STREQUAL "relocatable")
    set(only EXCLUDE_FROM_ALL)
  else()
    set(only "")
  endif()
  install(PROGRAMS $<TARGET_FILE:dualparal> DESTINATION ${program_dir} COMPONENT ${component} ${only})
  foreach(module dualparal_nccl dualparal_cuda) # those that this build has
    if(TARGET ${module})
      install(PROGRAMS $<TARGET_FILE:${module}> DESTINATION ${program_dir} COMPONENT ${component} ${only})
    endif()
  endforeach()
  install(DIRECTORY configs models DESTINATION ${data_dir} COMPONENT ${component} ${only})
  install(FILES LICENSE DESTINATION ${data_dir} COMPONENT ${component} ${only})
endforeach()
install(CODE "
  file(GLOB installed \"\$ENV{DESTDIR}\${CMAKE_INSTALL_PREFIX}/${program_dir}/*\")
  foreach(file IN LISTS installed)
    if(NOT IS_DIRECTORY \"\${file}\")
      file(RPATH_REMOVE FILE \"\${file}\")
    endif()
  endforeach()" COMPONENT relocatable EXCLUDE_FROM_ALL)
install(CODE "
  set(bin \"\$ENV{DESTDIR}\${CMAKE_INSTALL_PREFIX}/${CMAKE_INSTALL_BINDIR}\")
  file(MAKE_DIRECTORY \"\${bin}\")
  file(CREATE_LINK ../${program_dir}/dualparal \"\${bin}/dualparal\" SYMBOLIC)
  message(STATUS \"Installing: \${bin}/dualparal\")" COMPONENT program)
