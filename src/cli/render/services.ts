/** Text of `vrouter services`: what each service did, then one line a health check. Pure. */
import type { ServicesView } from '../views.ts';
import { renderStatus } from './status.ts';

export function renderServices({ agent_vif, services, health }: ServicesView): string {
  const lines = health.map(({ vif, type, port, healthy, run }) => {
    const what = `${vif} ${type}${port === undefined ? '' : ` ${port}`}`;
    const row = `${run < 0 ? -run : run} ${run < 0 ? 'failed' : 'answered'} in a row`;
    return `  ${what.padEnd(30)} ${healthy ? 'well' : 'ill'}, ${row}\n`;
  });
  const checks = lines.length === 0 ? '' : `checks:\n${lines.join('')}`;
  return renderStatus({ agent_vif, ...services }) + checks;
}
