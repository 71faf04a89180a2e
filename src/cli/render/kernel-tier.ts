/** The kernel tier in a few words, for all that show it. Pure. */
import type { KernelTierView } from '../views.ts';

export function kernelTierText({ on, reason, flows, packets }: KernelTierView): string {
  return on ? `on, ${flows} flows, ${packets} packets by it` : `off: ${reason}`;
}
