/**
 * For tests of processors and pipelines: real servers on loopback, the real and the simulated World, and the actor
 * system under it.
 *
 *     import { startPostgres, startRedis, realWorld } from 'troupe/testkit'
 */
export { createSimulatedSystem } from '../actor/simulated.js'
export { createSystem } from '../actor/system.js'
export * from '../servers/index.js'
export { realWorld } from '../world/real.js'
export { simulatedWorld } from '../world/simulated.js'
