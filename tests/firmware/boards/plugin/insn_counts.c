// QEMU TCG plugin: how often each instruction of the guest was executed between two markers.
//
// The guest calls an empty function before and another one after what is to be counted; their
// addresses come as the arguments begin=ADDRESS and end=ADDRESS, and out=FILE names the text that
// is written. Each pair of calls is a section, numbered from 0 in the order in which they end:
//
//   I NUMBER ADDRESS BYTES DISASSEMBLY   before its first use: an instruction and the number that stands for it
//   S SECTION TOTAL                      a section has ended: instructions executed, the end marker not among them
//   C NUMBER COUNT TAKEN                 one of its instructions: times executed, times the next one executed was
//                                        not the one behind it (taken branches; the back edge of a hardware loop)
//
// What class an instruction belongs to, and how many cycles it takes, is for the reader of the file to
// say (host/bench/boards_timing.py); so the plugin serves every CPU. One virtual CPU only.
//
// Build: cc -O2 -shared -fPIC -I FOLDER_OF_QEMU_PLUGIN_H insn_counts.c -o insn_counts.so
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "qemu-plugin.h"

QEMU_PLUGIN_EXPORT int qemu_plugin_version = QEMU_PLUGIN_VERSION;

// The counters' addresses are compiled into the translated code, so the tables never move.
enum { kInstructions = 1 << 18, kBuckets = 1 << 20, kBlocks = 1 << 20 };

typedef struct {
  uint64_t address;
  uint64_t taken;
  char* text;  // disassembly
  uint32_t bytes;
  bool named;  // its I line is written
} Instruction;

// A translated block: instructions that follow each other.
typedef struct {
  uint64_t start;
  uint64_t end;      // address behind its last instruction
  uint32_t last;     // that instruction
} Block;

static uint64_t counts[kInstructions];
static Instruction instructions[kInstructions];
static uint32_t used;
static uint32_t buckets[kBuckets];  // number of an instruction + 1, by address
static Block blocks[kBlocks];
static uint32_t used_blocks;
static const Block* previous;

static uint64_t begin_address = UINT64_MAX;
static uint64_t end_address = UINT64_MAX;
static bool counting;
static unsigned section;
static FILE* out;

static void fail(const char* sentence) {
  fprintf(stderr, "insn_counts: %s\n", sentence);
  exit(1);
}

static uint32_t number_of(uint64_t address, struct qemu_plugin_insn* insn) {
  uint32_t bucket = (uint32_t)((address >> 1) * 2654435761U) % kBuckets;
  while (buckets[bucket] != 0) {
    const uint32_t number = buckets[bucket] - 1;
    if (instructions[number].address == address) return number;
    bucket = (bucket + 1) % kBuckets;
  }
  if (used == kInstructions) fail("the guest has more instructions than the table; enlarge it");
  buckets[bucket] = used + 1;
  instructions[used].address = address;
  instructions[used].bytes = (uint32_t)qemu_plugin_insn_size(insn);
  instructions[used].text = qemu_plugin_insn_disas(insn);
  return used++;
}

static void on_begin(unsigned cpu, void* data) {
  (void)cpu;
  (void)data;
  memset(counts, 0, used * sizeof counts[0]);
  for (uint32_t i = 0; i < used; ++i) instructions[i].taken = 0;
  counting = true;
}

static void on_end(unsigned cpu, void* data) {
  (void)cpu;
  (void)data;
  if (!counting) return;
  counting = false;
  uint64_t total = 0;
  for (uint32_t i = 0; i < used; ++i) {
    Instruction* it = &instructions[i];
    // The end marker's own first instruction is counted before or after this call, as QEMU likes.
    if (counts[i] == 0 || it->address == end_address) continue;
    total += counts[i];
    if (it->named) continue;
    it->named = true;
    fprintf(out, "I %" PRIu32 " %" PRIx64 " %" PRIu32 " %s\n", i, it->address, it->bytes,
            it->text != NULL ? it->text : "?");
  }
  fprintf(out, "S %u %" PRIu64 "\n", section++, total);
  for (uint32_t i = 0; i < used; ++i) {
    if (counts[i] == 0 || instructions[i].address == end_address) continue;
    fprintf(out, "C %" PRIu32 " %" PRIu64 " %" PRIu64 "\n", i, counts[i], instructions[i].taken);
  }
}

static void on_block(unsigned cpu, void* data) {
  (void)cpu;
  const Block* block = data;
  if (previous != NULL && previous->end != block->start) instructions[previous->last].taken++;
  previous = block;
}

static void on_translation(qemu_plugin_id_t id, struct qemu_plugin_tb* tb) {
  (void)id;
  const size_t n = qemu_plugin_tb_n_insns(tb);
  if (n == 0) return;
  if (used_blocks == kBlocks) fail("the guest has more blocks than the table; enlarge it");
  Block* block = &blocks[used_blocks++];
  block->start = qemu_plugin_tb_vaddr(tb);
  for (size_t i = 0; i < n; ++i) {
    struct qemu_plugin_insn* insn = qemu_plugin_tb_get_insn(tb, i);
    const uint64_t address = qemu_plugin_insn_vaddr(insn);
    const uint32_t number = number_of(address, insn);
    block->last = number;
    block->end = address + instructions[number].bytes;
    if (address == begin_address) {
      qemu_plugin_register_vcpu_insn_exec_cb(insn, on_begin, QEMU_PLUGIN_CB_NO_REGS, NULL);
    }
    if (address == end_address) {
      qemu_plugin_register_vcpu_insn_exec_cb(insn, on_end, QEMU_PLUGIN_CB_NO_REGS, NULL);
    }
    qemu_plugin_register_vcpu_insn_exec_inline(insn, QEMU_PLUGIN_INLINE_ADD_U64, &counts[number], 1);
  }
  qemu_plugin_register_vcpu_tb_exec_cb(tb, on_block, QEMU_PLUGIN_CB_NO_REGS, block);
}

static void on_guest_exit(qemu_plugin_id_t id, void* data) {
  (void)id;
  (void)data;
  if (fclose(out) != 0) fail("the file of counts could not be written");
}

QEMU_PLUGIN_EXPORT int qemu_plugin_install(qemu_plugin_id_t id, const qemu_info_t* info, int argc,
                                           char** argv) {
  (void)info;
  const char* path = NULL;
  for (int i = 0; i < argc; ++i) {
    if (strncmp(argv[i], "begin=", 6) == 0) {
      begin_address = strtoull(argv[i] + 6, NULL, 0);
    } else if (strncmp(argv[i], "end=", 4) == 0) {
      end_address = strtoull(argv[i] + 4, NULL, 0);
    } else if (strncmp(argv[i], "out=", 4) == 0) {
      path = argv[i] + 4;
    } else {
      fprintf(stderr, "insn_counts: %s is none of begin=, end= and out=\n", argv[i]);
      return -1;
    }
  }
  if (path == NULL || (out = fopen(path, "w")) == NULL) {
    fprintf(stderr, "insn_counts: out=FILE is missing or cannot be written\n");
    return -1;
  }
  qemu_plugin_register_vcpu_tb_trans_cb(id, on_translation);
  qemu_plugin_register_atexit_cb(id, on_guest_exit, NULL);
  return 0;
}
