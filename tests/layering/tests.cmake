find_package(Python3 REQUIRED COMPONENTS Interpreter)

add_test(NAME layering/rules
  COMMAND Python3::Interpreter ${PROJECT_SOURCE_DIR}/tests/layering/check_layers.py
          ${PROJECT_SOURCE_DIR})
add_test(NAME layering/check_layers
  COMMAND Python3::Interpreter ${PROJECT_SOURCE_DIR}/tests/layering/check_layers_test.py)
set_tests_properties(layering/rules layering/check_layers PROPERTIES
  LABELS unit TIMEOUT 60 ENVIRONMENT PYTHONDONTWRITEBYTECODE=1)
