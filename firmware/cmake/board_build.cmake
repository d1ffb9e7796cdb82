# The build of an emulated board: library `board` (startup code and hal_qemu), the firmware tbft_<board>.elf, and the bare-metal
# programs of tests/firmware/boards. Included by CMakeLists.txt when TBFT_BOARD is set.
tbft_board_get(board_compile_flags compile_flags)
tbft_board_get(board_link_flags link_flags)
tbft_board_get(board_libraries libraries)
tbft_board_get(board_startup startup)
tbft_board_get(board_script linker_script)
set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${tbft_board_file})

set(board_definitions)
string(JSON count LENGTH "${tbft_board_json}" defines)
math(EXPR last "${count} - 1")
foreach(i RANGE ${last})
  string(JSON name MEMBER "${tbft_board_json}" defines ${i})
  string(JSON value GET "${tbft_board_json}" defines ${name})
  list(APPEND board_definitions "${name}=\"${value}\"")
endforeach()

set(board_asm_flags ${board_compile_flags})
list(FILTER board_asm_flags EXCLUDE REGEX "^-(std=|fno-rtti|fno-threadsafe|fno-use-cxa)")
target_compile_options(tbft_options INTERFACE
  "$<$<COMPILE_LANGUAGE:CXX>:${board_compile_flags}>" "$<$<COMPILE_LANGUAGE:ASM>:${board_asm_flags}>")
target_compile_definitions(tbft_options INTERFACE ${board_definitions})

list(TRANSFORM board_startup PREPEND ${tbft_boards}/)
file(GLOB hal_sources CONFIGURE_DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/lib/hal_qemu/*.cc)
# Objects, not an archive: the vectors are referred to by nothing.
add_library(board OBJECT ${board_startup} ${hal_sources})
target_include_directories(board PUBLIC ${tbft_boards} ${CMAKE_CURRENT_SOURCE_DIR})
target_link_libraries(board PUBLIC tbft_options hal hal_memory)

# tbft_add_board_program(NAME SOURCES... [LIBRARIES...]): NAME.elf for the emulated board, out of SOURCES, `board`, the kernels
# and the LIBRARIES (runtime, wire, ...). It needs `int main()`, which is called with interrupts off; what it
# returns is the emulator's exit status.
function(tbft_add_board_program name)
  cmake_parse_arguments(PARSE_ARGV 1 arg "" "" "SOURCES;LIBRARIES")
  set(script ${tbft_boards}/${board_script})
  add_executable(${name} ${arg_SOURCES} ${arg_UNPARSED_ARGUMENTS})
  target_link_libraries(${name} PRIVATE board ${arg_LIBRARIES} kernels ${board_libraries})
  target_link_options(${name} PRIVATE ${board_link_flags} -T ${script} -Wl,-Map=${CMAKE_BINARY_DIR}/${name}.map)
  set_target_properties(${name} PROPERTIES LINK_DEPENDS ${script} SUFFIX .elf)
endfunction()

if(EXISTS ${CMAKE_CURRENT_SOURCE_DIR}/app/main_qemu.cc)
  tbft_add_board_program(tbft_${TBFT_BOARD} SOURCES app/main_qemu.cc app/qemu_options.cc LIBRARIES ${TBFT_APP_LIBRARIES})
  tbft_finish_app(tbft_${TBFT_BOARD})
endif()

if(TBFT_TESTS)
  set(programs ${repo_root}/tests/firmware/boards)
  if(EXISTS ${programs}/CMakeLists.txt)
    include(${programs}/CMakeLists.txt)
  else()
    file(GLOB sources CONFIGURE_DEPENDS ${programs}/*.cc)
    foreach(source ${sources})
      get_filename_component(name ${source} NAME_WE)
      tbft_add_board_program(${name} SOURCES ${source} LIBRARIES runtime)
    endforeach()
  endif()
endif()
