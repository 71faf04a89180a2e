/** Text of `vrouter status`: every field of the answer, one a line, whatever process gave it. Pure. */
function lines(value: object, indent: string): string {
  let text = '';
  for (const [name, field] of Object.entries(value)) {
    const title = `${indent}${name}:`;
    if (Array.isArray(field)) text += `${title.padEnd(24)}${field.join(', ')}\n`;
    else if (typeof field === 'object' && field !== null)
      text += `${title}\n${lines(field, `${indent}  `)}`;
    else text += `${title.padEnd(24)}${field}\n`;
  }
  return text;
}

export function renderStatus(status: object): string {
  return lines(status, '');
}
