# Run by gopt_embed: writes each of FILES as a zero-terminated array.
set(text "/* Generated. */\n")
foreach(file ${FILES})
  get_filename_component(stem ${file} NAME_WE)
  file(READ ${file} hex HEX)
  string(REGEX REPLACE "([0-9a-f][0-9a-f])" "0x\\1," bytes "${hex}")
  string(APPEND text "extern const char ${PREFIX}_${stem}[];\nconst char ${PREFIX}_${stem}[] = { ${bytes} 0 };\n")
endforeach()
file(WRITE ${OUT} "${text}")
