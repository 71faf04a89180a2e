import { defineConfig } from 'vitest/config';

/**
 * Files whose time is virtual, or that time nothing: as many at once as there are cores. All others have the machine to
 * themselves, one after the other: kernels, packets a second, other speakers' timers, how long a failover takes.
 */
const TOGETHER = [
  'test/*.test.ts',
  'test/{unit,property,golden,compliance}/**/*.test.ts',
  'test/scenario/bgp-{anycast,anycast-packets,control,hub-and-spoke}.test.ts',
  'test/scenario/control-{agents,compare,config,hostile,names}.test.ts',
  'test/scenario/{agent-scripted,anycast,clusterip,configured,gateway-node,loadbalancer,replay}.test.ts',
  'test/scenario/simulated-control.test.ts',
];

export default defineConfig({
  test: {
    pool: 'forks',
    testTimeout: 30_000,
    hookTimeout: 60_000,
    projects: [
      {
        extends: true,
        test: {
          name: 'together',
          include: TOGETHER,
          maxWorkers: '100%',
          sequence: { groupOrder: 0 },
        },
      },
      {
        extends: true,
        test: {
          name: 'alone',
          include: ['test/**/*.test.ts'],
          exclude: TOGETHER,
          fileParallelism: false,
          sequence: { groupOrder: 1 },
        },
      },
    ],
  },
});
