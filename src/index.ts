/**
 * The public API: a data plane, what its Programs are made of, an agent over it, and sources of routes.
 * What is not exported here may change without notice.
 */
export { Agent, type AgentOptions, type Commit } from './agent/agent.ts';
export type * from './agent/intents.ts';
export { RouteExchange, type RouteExchangeOptions } from './control/exchange.ts';
export type * from './dataplane/api.ts';
export { openDataplane } from './dataplane/dataplane.ts';
export { decodeProgram, encodeProgram } from './dataplane/program.ts';
export { ConfigError, type ConfigProblem, ParseError, VRouterError } from './errors.ts';
export type * from './rib/route.ts';
export { StaticRouteSource } from './rib/static-source.ts';
