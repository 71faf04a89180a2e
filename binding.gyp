{
  "variables": {
    "core_sources": [
      "native/base/address.cc",
      "native/base/checksum.cc",
      "native/base/drop.cc",
      "native/base/status.cc",
      "native/offload/checksum.cc",
      "native/packet/packet.cc",
      "native/path/admit.cc",
      "native/path/bridge.cc",
      "native/path/decap.cc",
      "native/path/decide.cc",
      "native/path/encapsulate.cc",
      "native/path/explain.cc",
      "native/path/finish.cc",
      "native/path/fit.cc",
      "native/path/flows.cc",
      "native/path/fragment_ip.cc",
      "native/path/fragment_ports.cc",
      "native/path/fragments.cc",
      "native/path/icmp_error.cc",
      "native/path/mss.cc",
      "native/path/parse.cc",
      "native/path/pipeline.cc",
      "native/path/policy.cc",
      "native/path/punt.cc",
      "native/path/replicate.cc",
      "native/path/reply.cc",
      "native/path/resolve.cc",
      "native/path/route.cc",
      "native/path/translate.cc",
      "native/port/af_packet_port.cc",
      "native/port/generator_port.cc",
      "native/port/memory_port.cc",
      "native/port/netdevice.cc",
      "native/port/pcap_file.cc",
      "native/port/pcap_port.cc",
      "native/port/sockets.cc",
      "native/port/tap_port.cc",
      "native/program/apply.cc",
      "native/program/decode.cc",
      "native/program/dump.cc",
      "native/program/encode.cc",
      "native/program/layout.cc",
      "native/program/validate.cc",
      "native/state/ecmp.cc",
      "native/state/events.cc",
      "native/state/flow.cc",
      "native/state/rewrite.cc",
      "native/state/router.cc",
      "native/table/lpm.cc",
      "native/table/mapped_memory.cc",
      "native/wire/print.cc",
      "native/worker/engine.cc",
      "native/worker/wake.cc"
    ],
    "addon_sources": [
      "native/binding/addon.cc",
      "native/binding/dataplane.cc",
      "native/binding/descriptor.cc"
    ],
    "addon_defines": [
      "NAPI_VERSION=9",
      "NAPI_DISABLE_CPP_EXCEPTIONS"
    ],
    "cxx_flags": ["-std=c++20", "-O3", "-fno-exceptions", "-fvisibility=hidden", "-Wall", "-Wextra"]
  },
  "targets": [
    {
      "target_name": "vrouter",
      "sources": ["<@(core_sources)", "<@(addon_sources)"],
      "include_dirs": ["native", "<!(node -p \"require('node-addon-api').include_dir\")"],
      "defines": ["<@(addon_defines)"],
      "cflags_cc!": ["-std=gnu++14", "-std=gnu++17", "-std=gnu++20"],
      "cflags_cc": ["<@(cxx_flags)"]
    }
  ]
}
