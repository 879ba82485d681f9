import { defineConfig } from 'vitest/config'

export default defineConfig({
  test: {
    include: ['test/**/*.test.ts'],
    // Worker threads and child processes run the compiled tree, so it is made once before the first suite.
    globalSetup: ['test/build.ts'],
    pool: 'forks',
    maxWorkers: 2,
    // For whoever tests while the machine does other things: a test that hangs is told all the same.
    testTimeout: 120_000,
    hookTimeout: 120_000,
  },
})
