/* A stand-in for NVIDIA's driver: the GPU's memory is the host's, copies are done at once, or recorded in a capture. */
#include <stdlib.h>
#include <string.h>
typedef unsigned long long address;
typedef struct { void *to; const void *from; size_t size; } copy;
typedef struct { copy copies[16]; int count; } graph;
static int live, contexts, entered, capturing, failing;
static graph recorded;
int fake_live(void) { return live; }         /* allocations, streams and graphs that were not freed */
int fake_contexts(void) { return contexts; } /* retained primary contexts */
int fake_entered(void) { return entered; }   /* contexts that were pushed and not popped */
int fake_capturing(void) { return capturing; }
void fake_fail_capture(int code) { failing = code; }

int cuInit(unsigned flags) { return 0; }
int cuDriverGetVersion(int *version) { *version = 12060; return 0; }
int cuDeviceGetCount(int *count) { *count = 1; return 0; }
int cuDeviceGet(int *device, int ordinal) { *device = 0; return 0; }
int cuDevicePrimaryCtxRetain(void **context, int device) { *context = &contexts; contexts++; return 0; }
int cuDevicePrimaryCtxRelease(int device) { contexts--; return 0; }
int cuDevicePrimaryCtxRelease_v2(int device) { contexts--; return 0; }
int cuCtxPushCurrent_v2(void *context) { entered++; return 0; }
int cuCtxPopCurrent_v2(void **context) { entered--; return 0; }
int cuCtxDetach(void *context) { return 201; } /* what a real driver says of a primary context */
int cuGetErrorString(int code, const char **text) { *text = "a stand-in failed"; return 0; }
int cuStreamCreate(void **stream, unsigned flags) { *stream = malloc(1); live++; return flags == 1 ? 0 : 1; }
int cuStreamDestroy_v2(void *stream) { free(stream); live--; return 0; }
int cuStreamSynchronize(void *stream) { return capturing ? 900 : 0; }
int cuMemAlloc_v2(address *memory, size_t size) { *memory = (address)malloc(size); live++; return 0; }
int cuMemFree_v2(address memory) { free((void *)memory); live--; return 0; }
int cuMemHostAlloc(void **memory, size_t size, unsigned flags) { *memory = malloc(size); live++; return 0; }
int cuMemAllocHost_v2(void **memory, size_t size) { return cuMemHostAlloc(memory, size, 0); }
int cuMemFreeHost(void *memory) { free(memory); live--; return 0; }

static int enqueue(void *to, const void *from, size_t size) {
  copy one = {to, from, size};
  if (capturing) recorded.copies[recorded.count++] = one;
  else memcpy(to, from, size);
  return 0;
}
int cuMemcpyHtoDAsync_v2(address to, const void *from, size_t size, void *stream) { return enqueue((void *)to, from, size); }
int cuMemcpyDtoHAsync_v2(void *to, address from, size_t size, void *stream) { return enqueue(to, (void *)from, size); }
int cuMemcpyDtoDAsync_v2(address to, address from, size_t size, void *stream) {
  return enqueue((void *)to, (void *)from, size);
}

int cuStreamBeginCapture_v2(void *stream, int mode) {
  capturing = 1;
  recorded.count = 0;
  return mode == 1 ? 0 : 1;
}
int cuStreamEndCapture(void *stream, void **made) {
  capturing = 0;
  if (failing) return failing;
  *made = memcpy(malloc(sizeof recorded), &recorded, sizeof recorded);
  live++;
  return 0;
}
int cuGraphInstantiateWithFlags(void **executable, void *made, unsigned long long flags) {
  *executable = memcpy(malloc(sizeof(graph)), made, sizeof(graph));
  live++;
  return flags != 0;
}
int cuGraphLaunch(void *executable, void *stream) {
  graph *made = executable;
  for (int i = 0; i < made->count; i++) memcpy(made->copies[i].to, made->copies[i].from, made->copies[i].size);
  return 0;
}
int cuGraphDestroy(void *made) { free(made); live--; return 0; }
int cuGraphExecDestroy(void *executable) { free(executable); live--; return 0; }
