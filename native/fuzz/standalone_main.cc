// Driver for fuzz targets where libFuzzer is not at hand (GCC). Takes the flags of libFuzzer that we use, so
// that one command line serves both:
//   fuzz_x [-runs=N] [-seed=S] [-max_len=BYTES] [-max_total_time=SECONDS] [corpus file or folder]...
// First every corpus file as it stands, then N inputs: mutants of corpus files, and plain random bytes.
// Same seed, same inputs. An input that kills the target is written to crash-<run> in the current folder.
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <random>
#include <string>
#include <string_view>
#include <vector>

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size);
extern "C" __attribute__((weak)) int LLVMFuzzerInitialize(int* argc, char*** argv);
extern "C" __attribute__((weak)) void __sanitizer_set_death_callback(void (*callback)(void));

namespace {

using Bytes = std::vector<uint8_t>;

Bytes current;
uint64_t run = 0;

void save_current() {
  char name[64];
  std::snprintf(name, sizeof name, "crash-%llu", static_cast<unsigned long long>(run));
  if (FILE* file = std::fopen(name, "wb")) {
    std::fwrite(current.data(), 1, current.size(), file);
    std::fclose(file);
    std::fprintf(stderr, "input of run %llu (%zu bytes) written to %s\n",
                 static_cast<unsigned long long>(run), current.size(), name);
  }
}

void one(const Bytes& input) {
  // A heap block of exactly this size, so that ASan sees one byte too far. (shrink_to_fit() does nothing
  // without exceptions.)
  Bytes(input).swap(current);
  LLVMFuzzerTestOneInput(current.data(), current.size());
}

class Mutator {
 public:
  Mutator(uint64_t seed, size_t max_len) : random_(seed), max_len_(max_len) {}

  Bytes next(const std::vector<Bytes>& corpus) {
    Bytes bytes;
    if (corpus.empty() || below(4) == 0) {
      bytes.resize(below(2) ? below(33) : below(max_len_ + 1));  // many targets like them short
      for (uint8_t& b : bytes) b = static_cast<uint8_t>(random_());
      return bytes;
    }
    bytes = corpus[below(corpus.size())];
    for (uint64_t n = 1 + below(4); n > 0; --n) mutate(bytes, corpus);
    if (bytes.size() > max_len_) bytes.resize(max_len_);
    return bytes;
  }

 private:
  uint64_t below(uint64_t n) { return n == 0 ? 0 : random_() % n; }

  void mutate(Bytes& bytes, const std::vector<Bytes>& corpus) {
    static constexpr uint8_t kEdges[] = {0x00, 0x01, 0x7f, 0x80, 0xff, 0x04, 0x45, 0x60};
    const size_t at = below(bytes.size());
    switch (bytes.empty() ? 3 : below(8)) {
      case 0:
        bytes[at] ^= static_cast<uint8_t>(1u << below(8));
        break;
      case 1:
        bytes[at] = static_cast<uint8_t>(random_());
        break;
      case 2:
        bytes[at] = kEdges[below(std::size(kEdges))];
        break;
      case 3:
        bytes.insert(bytes.begin() + static_cast<ptrdiff_t>(at), 1 + below(8),
                     static_cast<uint8_t>(random_()));
        break;
      case 4: {
        const size_t count = std::min<size_t>(1 + below(8), bytes.size() - at);
        bytes.erase(bytes.begin() + static_cast<ptrdiff_t>(at),
                    bytes.begin() + static_cast<ptrdiff_t>(at + count));
        break;
      }
      case 5:
        bytes.resize(at);
        break;
      case 6: {  // a 16-bit field
        if (at + 1 < bytes.size()) {
          const uint64_t value = below(2) ? random_() : below(80);
          bytes[at] = static_cast<uint8_t>(value >> 8);
          bytes[at + 1] = static_cast<uint8_t>(value);
        }
        break;
      }
      default: {  // the tail of another
        const Bytes& other = corpus[below(corpus.size())];
        if (at < other.size()) {
          bytes.resize(at);
          bytes.insert(bytes.end(), other.begin() + static_cast<ptrdiff_t>(at), other.end());
        }
      }
    }
  }

  std::mt19937_64 random_;
  size_t max_len_;
};

bool read_file(const std::filesystem::path& path, Bytes& out) {
  FILE* file = std::fopen(path.c_str(), "rb");
  if (!file) return false;
  out.clear();
  uint8_t block[4096];
  for (size_t n; (n = std::fread(block, 1, sizeof block, file)) > 0;) {
    out.insert(out.end(), block, block + n);
  }
  std::fclose(file);
  return true;
}

bool number_flag(std::string_view argument, std::string_view name, uint64_t& value) {
  if (!argument.starts_with(name)) return false;
  value = std::strtoull(argument.data() + name.size(), nullptr, 10);
  return true;
}

}  // namespace

int main(int argc, char** argv) {
  if (LLVMFuzzerInitialize) LLVMFuzzerInitialize(&argc, &argv);
  if (__sanitizer_set_death_callback) __sanitizer_set_death_callback(save_current);

  uint64_t runs = ~uint64_t{0}, seed = 1, max_len = 1600, seconds = 0;
  std::vector<std::filesystem::path> files;
  for (int i = 1; i < argc; ++i) {
    const std::string_view argument = argv[i];
    if (number_flag(argument, "-runs=", runs) || number_flag(argument, "-seed=", seed) ||
        number_flag(argument, "-max_len=", max_len) ||
        number_flag(argument, "-max_total_time=", seconds)) {
      continue;
    }
    if (argument.starts_with("-")) {
      std::fprintf(stderr, "unknown flag %s\n", argv[i]);
      return 2;
    }
    std::error_code error;
    if (std::filesystem::is_directory(argument, error)) {
      for (const auto& entry : std::filesystem::directory_iterator(argument, error)) {
        if (entry.is_regular_file(error)) files.push_back(entry.path());
      }
    } else {
      files.emplace_back(argument);
    }
  }
  std::sort(files.begin(), files.end());

  std::vector<Bytes> corpus;
  for (const auto& path : files) {
    Bytes bytes;
    if (!read_file(path, bytes)) {
      std::fprintf(stderr, "cannot read %s\n", path.c_str());
      return 2;
    }
    corpus.push_back(std::move(bytes));
  }
  for (const Bytes& input : corpus) {
    if (run >= runs) break;
    one(input);
    ++run;
  }

  Mutator mutator(seed, max_len);
  const auto start = std::chrono::steady_clock::now();
  for (; run < runs; ++run) {
    one(mutator.next(corpus));
    if (seconds != 0 && (run & 1023) == 0 &&
        std::chrono::steady_clock::now() - start > std::chrono::seconds(seconds)) {
      break;
    }
  }
  std::printf("Done %llu runs\n", static_cast<unsigned long long>(run));
  return 0;
}
