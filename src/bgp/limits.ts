/**
 * Bounds of what a neighbour can make us hold or do at once, by name: every one is reached by a test or a figure,
 * and none by a router that behaves.
 */
export const LIMITS = {
  /** Routes of one family that a neighbour may say where its `maxRoutes` is not given. */
  routesOfFamily: 4_000_000,
  /** Routes in one Update that is given to a session. */
  routesInUpdate: 4096,
  /** Routes that one call of `next` looks at before it gives the processor away. */
  looksInCall: 65_536,
  /** Routes that are worked out between two breaths. */
  routesInSlice: 16_384,
  /** Routes in the Updates that a group keeps so that its other peers are given the same ones. */
  routesKept: 65_536,
  /** Milliseconds that VPN routes wait for a peer's memberships (RFC 4684 §6). */
  membershipWaitMs: 60_000,
} as const;
