/* aotiny's C API: load a .pt2 package, run it, free it.
 *
 *   AotinyModel* model = NULL;
 *   if (aotiny_model_load("model.pt2", "cpu", 1, NULL, &model) != 0) puts(aotiny_last_error());
 *
 * Tensors are the AtenTensorHandle of aoti_torch.h, which also has the functions to create, read
 * and delete them. Unless its comment says otherwise a function returns 0, or the code of a failure
 * (see aotiny_status_name) with its sentence in aotiny_last_error(), and leaves its out-pointers
 * null on failure. Every function may be called from any thread.
 */
#pragma once

#include "aotiny/abi/aoti_torch.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct AotinyModel AotinyModel;

/* "0.1.0" */
AOTINY_API const char* aotiny_version(void);

/* The sentence of this thread's most recent failure, "" if there was none. Valid until the thread's
 * next failure. */
AOTINY_API const char* aotiny_last_error(void);
/* The same for warnings, which models give with aoti_torch_warn. */
AOTINY_API const char* aotiny_last_warning(void);
/* "Ok" for 0, "InvalidArgument" for 18, ...; "unknown status" for what is no code. */
AOTINY_API const char* aotiny_status_name(int32_t code);

/* Loads a model, which aotiny_model_free releases. `device` is "cpu", "cuda" or "cuda:N" (null:
 * "cpu"); num_models, 1..4096, says how many threads can run it at the same time; model_name
 * picks one of several models in the package (null: the only one). */
AOTINY_API int32_t aotiny_model_load(const char* path, const char* device, int64_t num_models,
                                     const char* model_name, AotinyModel** ret_model);

/* The same with more options. A struct of zeros, but for its size, asks for what null and 1 ask for
 * above. */
typedef struct AotinyModelOptions {
  size_t struct_size; /* sizeof(AotinyModelOptions): a later version may have more fields */
  const char* device;
  int64_t num_models; /* 0: 1 */
  const char* model_name;
  int32_t cuda_graph; /* not 0: replay a recording of the first run with inputs of some shapes */
} AotinyModelOptions;
AOTINY_API int32_t aotiny_model_load_with(const char* path, const AotinyModelOptions* options,
                                          AotinyModel** ret_model);

/* Another model of the same code and weights, as if just loaded, with buffers of its own: another
 * thread can run it at the same time. It is released like any other, in any order. */
AOTINY_API int32_t aotiny_model_instance(const AotinyModel* model, AotinyModel** ret_instance);

/* Accepts null. No other thread may be running the model, and nobody may use it afterwards; outputs
 * may outlive it. On a device it waits for the model's runs. */
AOTINY_API void aotiny_model_free(AotinyModel* model);

/* Where the model runs, in the codes of aoti_torch_device_type_*; the index is -1 for the CPU. */
AOTINY_API int32_t aotiny_model_device(const AotinyModel* model, int32_t* ret_device_type,
                                       int32_t* ret_device_index);

AOTINY_API int32_t aotiny_model_num_inputs(const AotinyModel* model, int64_t* ret_count);
AOTINY_API int32_t aotiny_model_num_outputs(const AotinyModel* model, int64_t* ret_count);
/* What the package's manifest says of the model, as JSON: inputs and outputs with names, dtypes,
 * shapes and ranges. Borrowed, as long as the model lives; null if the package has no manifest. */
AOTINY_API int32_t aotiny_model_manifest(const AotinyModel* model, const char** ret_json);

/* Runs the model. The inputs, on the model's device, stay the caller's. On a device the run takes
 * its place in the calling thread's current stream (aoti_torch_create_cuda_stream_guard), and this
 * may return before it is done. ret_outputs has room for num_outputs new handles,
 * each of which the caller deletes; an output that the model leaves out is null. On failure all of
 * them are null. */
AOTINY_API int32_t aotiny_model_run(AotinyModel* model, const AtenTensorHandle* inputs,
                                    int64_t num_inputs, AtenTensorHandle* ret_outputs,
                                    int64_t num_outputs);

/* What a package holds and needs, found without running its code, as JSON: inputs, outputs,
 * constants, sizes, required and missing symbols, platform, compile options. The string is new;
 * aotiny_string_free releases it. */
AOTINY_API int32_t aotiny_inspect(const char* path, char** ret_json);
/* Accepts null. */
AOTINY_API void aotiny_string_free(char* text);

/* Opens a shared library with the C shims of custom operators (aoti_torch_<device>_<name>), for the
 * models that are loaded later. It stays open. */
AOTINY_API int32_t aotiny_load_library(const char* path);

/* Begins the sequence of random numbers of a seed on a CUDA device; the CPU has none. */
AOTINY_API int32_t aotiny_manual_seed(const char* device, uint64_t seed);

/* Counters of a device's allocator, in bytes and calls. */
typedef struct AotinyAllocatorStats {
  uint64_t allocated_bytes;        /* handed out and not yet returned */
  uint64_t peak_allocated_bytes;   /* the most so far */
  uint64_t reserved_bytes;         /* taken from the system, cached blocks included */
  uint64_t num_allocations;        /* requests so far */
  uint64_t num_system_allocations; /* those that no cached block could serve */
} AotinyAllocatorStats;
AOTINY_API int32_t aotiny_allocator_stats(const char* device, AotinyAllocatorStats* ret_stats);

/* How many OpenMP threads a call may use, 1..4096, from whichever thread; 0 asks for the default
 * again: what OpenMP says, but, unless OMP_NUM_THREADS is set, no more than the processors that the
 * affinity mask and the cgroups grant. A run that begins while others are under
 * way gets one part in so many. */
AOTINY_API int32_t aotiny_set_num_threads(int64_t count);
/* What a call from this thread may use. */
AOTINY_API int32_t aotiny_num_threads(int64_t* ret_count);

#ifdef __cplusplus
}
#endif
