/** Servers for development, tests and benchmarks: what other rooms and the command line may use. */
export { type NatsOptions, type NatsServer, startNats } from './nats.js'
export { type PostgresServer, startPostgres } from './postgres.js'
export { endpointVariableOf, type Program } from './program.js'
export { reapOrphans, runningServers, type ServerRecord } from './record.js'
export { type RedisServer, startRedis } from './redis.js'
export { describeProgram, resolveProgram } from './resolve.js'
export { type Server, type ServerKind, type Settings, type StartOptions, serverKinds } from './server.js'
