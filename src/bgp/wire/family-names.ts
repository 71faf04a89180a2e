/**
 * Address families: the names and numbers (IANA AFI, SAFI) of those we speak. One we do not is
 * `afi/safi`, for peers offer more than we know, and what they offered is shown.
 */
export const FAMILY_NUMBERS = {
  'ipv4-unicast': [1, 1],
  'ipv6-unicast': [2, 1],
  vpnv4: [1, 128],
  vpnv6: [2, 128],
  evpn: [25, 70],
  rtc: [1, 132],
} as const satisfies Record<string, readonly [afi: number, safi: number]>;

export type FamilyName = keyof typeof FAMILY_NUMBERS;
export type FamilyText = FamilyName | `${number}/${number}`;

export const FAMILY_NAMES = Object.keys(FAMILY_NUMBERS) as readonly FamilyName[];

const BY_NUMBERS = new Map<string, FamilyName>(
  FAMILY_NAMES.map((name): [string, FamilyName] => [FAMILY_NUMBERS[name].join('/'), name]),
);

export function familyText(afi: number, safi: number): FamilyText {
  return BY_NUMBERS.get(`${afi}/${safi}`) ?? `${afi}/${safi}`;
}

export function familyNumbers(family: FamilyText): readonly [afi: number, safi: number] {
  if (isFamily(family)) return FAMILY_NUMBERS[family];
  const [afi, safi] = family.split('/').map(Number);
  if (afi === undefined || safi === undefined || !(afi <= 0xffff) || !(safi <= 0xffff)) {
    throw new RangeError(`"${family}" is not a family`);
  }
  return [afi, safi];
}

export function isFamily(family: FamilyText): family is FamilyName {
  return Object.hasOwn(FAMILY_NUMBERS, family);
}
