/* Loads a .pt2 package and runs it on float32 inputs of ones:
 *
 *   run_model model.pt2 2x16 3x4x5
 *
 * gives the model two inputs of shapes [2, 16] and [3, 4, 5], and prints the shapes and first
 * values of its outputs. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "aotiny/abi/aotiny.h"

enum { kMaxTensors = 16, kMaxDims = 8 };

static int report(int32_t code) {
  fprintf(stderr, "%s: %s\n", aotiny_status_name(code), aotiny_last_error());
  return 1;
}

/* A new tensor of ones, of a shape such as "2x16". */
static int32_t make_input(const char* shape, AtenTensorHandle* ret) {
  int64_t sizes[kMaxDims], strides[kMaxDims], ndim = 0, numel = 1;
  for (char* end = NULL; *shape != '\0' && ndim < kMaxDims; shape = *end == 'x' ? end + 1 : end) {
    sizes[ndim++] = strtoll(shape, &end, 10);
    if (end == shape) return 0x12; /* InvalidArgument */
  }
  for (int64_t i = ndim; i-- > 0; numel *= sizes[i]) strides[i] = numel;
  int32_t code = aoti_torch_empty_strided(ndim, sizes, strides, aoti_torch_dtype_float32(),
                                          aoti_torch_device_type_cpu(), -1, ret);
  void* data = NULL;
  if (code == 0) code = aoti_torch_get_data_ptr(*ret, &data);
  for (int64_t i = 0; code == 0 && i < numel; ++i) ((float*)data)[i] = 1.0f;
  return code;
}

static int32_t print_output(int64_t index, AtenTensorHandle tensor) {
  if (tensor == NULL) return printf("output %" PRId64 ": none\n", index), 0;
  int64_t ndim = 0, numel = 0, *sizes = NULL;
  int32_t dtype = 0, code = 0;
  void* data = NULL;
  if ((code = aoti_torch_get_dim(tensor, &ndim)) != 0) return code;
  if ((code = aoti_torch_get_numel(tensor, &numel)) != 0) return code;
  if ((code = aoti_torch_get_sizes(tensor, &sizes)) != 0) return code;
  if ((code = aoti_torch_get_dtype(tensor, &dtype)) != 0) return code;
  if ((code = aoti_torch_get_data_ptr(tensor, &data)) != 0) return code;
  const int is_float = dtype == aoti_torch_dtype_float32();
  printf("output %" PRId64 ": %s [", index, is_float ? "float32" : "another dtype,");
  for (int64_t i = 0; i < ndim; ++i) printf("%s%" PRId64, i == 0 ? "" : ", ", sizes[i]);
  printf("]\n");
  if (!is_float) return 0;
  printf("first values:");
  for (int64_t i = 0; i < numel && i < 8; ++i) printf(" %g", ((const float*)data)[i]);
  printf("\n");
  return 0;
}

int main(int argc, char** argv) {
  if (argc < 2 || argc > 2 + kMaxTensors) {
    fprintf(stderr, "usage: %s model.pt2 [shape ...]\n", argv[0]);
    return 2;
  }
  AotinyModel* model = NULL;
  AtenTensorHandle inputs[kMaxTensors] = {NULL}, outputs[kMaxTensors] = {NULL};
  const int64_t num_inputs = argc - 2;
  int64_t num_outputs = 0;

  int32_t code = aotiny_model_load(argv[1], "cpu", 1, NULL, &model);
  if (code == 0) code = aotiny_model_num_outputs(model, &num_outputs);
  if (code == 0 && num_outputs > kMaxTensors) num_outputs = kMaxTensors; /* then run refuses */
  for (int64_t i = 0; code == 0 && i < num_inputs; ++i) {
    code = make_input(argv[2 + i], &inputs[i]);
  }
  if (code == 0) code = aotiny_model_run(model, inputs, num_inputs, outputs, num_outputs);
  for (int64_t i = 0; code == 0 && i < num_outputs; ++i) code = print_output(i, outputs[i]);
  const int failed = code != 0 ? report(code) : 0;

  for (int i = 0; i < kMaxTensors; ++i) {
    aoti_torch_delete_tensor_object(inputs[i]);
    aoti_torch_delete_tensor_object(outputs[i]);
  }
  aotiny_model_free(model);
  return failed;
}
