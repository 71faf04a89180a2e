/** Text of `vrouter status`: what is not well first, then every field of the answer, one a line. Pure. */
import type { KernelTierView } from '../views.ts';
import { kernelTierText } from './kernel-tier.ts';

function lines(value: object, indent: string): string {
  let text = '';
  for (const [name, field] of Object.entries(value)) {
    const title = `${indent}${name}:`;
    if (Array.isArray(field) && field.some((one) => typeof one === 'object'))
      for (const one of field) text += `${title}\n${lines(one, `${indent}  `)}`;
    else if (Array.isArray(field)) text += `${title.padEnd(24)}${field.join(', ')}\n`;
    else if (typeof field === 'object' && field !== null)
      text += `${title}\n${lines(field, `${indent}  `)}`;
    else text += `${title.padEnd(24)}${field}\n`;
  }
  return text;
}

/** A route exchange does not say how it is: it is there. */
export function renderStatus(status: object): string {
  const { problems, ...fields } = status as {
    readonly problems?: readonly string[];
    readonly kernelTier?: KernelTierView;
  };
  // It has a device for each port: those are for who asks for JSON.
  const rest = fields.kernelTier
    ? { ...fields, kernelTier: kernelTierText(fields.kernelTier) }
    : fields;
  if (problems === undefined) return lines(rest, '');
  const verdict =
    problems.length === 0
      ? 'All is well.\n'
      : `Not well:\n${problems.map((problem) => `  ${problem}\n`).join('')}`;
  return `${verdict}\n${lines(rest, '')}`;
}
