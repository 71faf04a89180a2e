/** Text of `vrouter control compare`: by instance and prefix, what either side has. Pure. */
import type {
  Comparison,
  Difference,
  PathDifference,
  SettingDifference,
} from '../control-compare.ts';
import { pathText } from './control.ts';

const isSetting = (each: Difference): each is SettingDifference => 'setting' in each;
const listText = (values: readonly string[]): string => values.join(',') || '-';

function settingLine({ setting, a, b }: SettingDifference): string {
  return `  ${setting}: a ${listText(a)}  b ${listText(b)}\n`;
}

function pathLines({ a, b }: PathDifference): string {
  const only = a === null ? 'b only ' : b === null ? 'a only ' : '';
  return [
    ...(a === null ? [] : [`    ${only || 'a      '}${pathText(a)}`]),
    ...(b === null ? [] : [`    ${only || 'b      '}${pathText(b)}`]),
  ].join('');
}

export function renderComparison({
  inStep,
  a,
  b,
  instances,
  paths,
  differences,
  more,
}: Comparison): string {
  const of = `${instances} instances, ${paths} paths`;
  if (inStep) return `${a} and ${b} are in step: ${of}\n`;
  let text = `a: ${a}\nb: ${b}\n`;
  let [instance, prefix] = ['', ''];
  for (const each of differences) {
    if (each.instance !== instance) text += `${each.instance}\n`;
    const key = isSetting(each) ? '' : `${each.family} ${each.prefix}`;
    if (key !== '' && (each.instance !== instance || key !== prefix)) text += `  ${key}\n`;
    text += isSetting(each) ? settingLine(each) : pathLines(each);
    [instance, prefix] = [each.instance, key];
  }
  const rest = more > 0 ? ` and ${more} more` : '';
  return `${text}${differences.length}${rest} differences: ${of}\n`;
}
