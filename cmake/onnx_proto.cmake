# Generates the protobuf-c code of src/onnx/onnx.proto.
find_program(PROTOC_C NAMES protoc-c REQUIRED)
set(generated ${CMAKE_BINARY_DIR}/generated)
file(MAKE_DIRECTORY ${generated})
add_custom_command(
  OUTPUT ${generated}/onnx.pb-c.c ${generated}/onnx.pb-c.h
  COMMAND ${PROTOC_C} --c_out=${generated} -I${CMAKE_SOURCE_DIR}/src/onnx ${CMAKE_SOURCE_DIR}/src/onnx/onnx.proto
  DEPENDS ${CMAKE_SOURCE_DIR}/src/onnx/onnx.proto
  COMMENT "Generating the ONNX messages")
set(GOPT_PROTO_SOURCES ${generated}/onnx.pb-c.c ${generated}/onnx.pb-c.h)
set_source_files_properties(${generated}/onnx.pb-c.c PROPERTIES COMPILE_OPTIONS "-w")
