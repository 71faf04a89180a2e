/** MACs as the ancestor's tables print them: no leading zeros (`2:e7:3:ea:67:f1`). */
export function shortMac(mac: string): string {
  return mac
    .split(':')
    .map((byte) => Number.parseInt(byte, 16).toString(16))
    .join(':');
}
