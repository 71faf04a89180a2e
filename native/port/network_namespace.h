// Entering another network namespace: only in a thread that ends with it, for a namespace is a thread's and the caller
// keeps his own. Control side only.
#pragma once
#include <functional>
#include <string>

namespace vrouter {

// Where it is: `netns` is that path (with '/'), or a name under /run/netns.
std::string namespace_path(const std::string& netns);
// A descriptor, the caller's to close; -1 with errno set.
int open_namespace(const std::string& netns);
// Runs f in the namespace of this descriptor. 0; else the errno of why it did not run.
int run_in_namespace(int netns, const std::function<void()>& f);

}  // namespace vrouter
