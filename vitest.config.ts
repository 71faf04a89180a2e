import { defineConfig } from 'vitest/config';

// Network namespace and timing tests share the machine: one file at a time, in its own process.
export default defineConfig({
  test: {
    include: ['test/**/*.test.ts'],
    pool: 'forks',
    fileParallelism: false,
    testTimeout: 30_000,
    hookTimeout: 60_000,
  },
});
