/** Text of `mpls` and `vxlan`. Pure; layout is the ancestor's. */
import type { LabelView, VniView } from '../views.ts';

export function renderLabels(labels: readonly LabelView[]): string {
  return (
    'MPLS Input Label Map\n\n   Label    NextHop\n-------------------\n' +
    labels
      .map((row) => `${String(row.label).padStart(8)}${String(row.nextHop).padStart(10)}\n`)
      .join('')
  );
}

export function renderVnis(vnis: readonly VniView[]): string {
  return (
    'VXLAN Table\n\n VNID    NextHop\n----------------\n' +
    vnis.map((row) => `${String(row.vni).padStart(7)}    ${row.nextHop}\n`).join('')
  );
}
