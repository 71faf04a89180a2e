// What the kernel tier needs to know and make of network devices: indices, the namespace a tenant's TAP is in, and
// for such a TAP a *companion*: a veth pair from our namespace to the tenant's, by which packets pass between
// the TAP's hooks and ours (a program cannot send to a device of another namespace).
// Control side only.
#pragma once
#include <cstdint>
#include <functional>
#include <string>

namespace vrouter {

// 0: there is none of this name in the calling thread's namespace.
uint32_t device_index(const std::string& name);

// Runs f in a thread of its own that has entered the namespace; "" if it could, else why not.
// netns: a name under /run/netns, or a path.
std::string in_namespace(const std::string& netns, const std::function<void()>& f);

// Makes the pair, both ends called `name`, ours in the calling thread's namespace; one that was left behind by an
// earlier process is replaced. Without addresses, and up. "" or why not.
std::string make_companion(const std::string& name, const std::string& netns);
void remove_companion(const std::string& name);

// Plain segments that we send into the pair are merged at its other end (GRO): the kernel does so for a veth whose
// own sender cannot send super-packets. Called in our namespace and in the tenant's. False: it does not.
bool set_device_segments(const std::string& name, bool on);  // TSO
bool set_device_merges(const std::string& name, bool on);    // GRO

}  // namespace vrouter
