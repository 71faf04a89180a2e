/**
 * Vitest reporter for scripts/test.mjs: writes passed, failed (with modules that did not load and errors outside
 * of tests) and each skipped test with its reason to the file named by VROUTER_VERDICT.
 */
import { writeFileSync } from 'node:fs';
import type { Reporter, SerializedError, TestModule, TestRunEndReason } from 'vitest/node';

export interface Verdict {
  passed: number;
  failed: string[];
  skipped: { name: string; why: string }[];
}

export default class VerdictReporter implements Reporter {
  onTestRunEnd(
    modules: readonly TestModule[],
    errors: readonly SerializedError[],
    reason: TestRunEndReason,
  ): void {
    const verdict: Verdict = { passed: 0, failed: [], skipped: [] };
    for (const module of modules) {
      for (const error of module.errors()) {
        verdict.failed.push(`${module.relativeModuleId}: ${error.message}`);
      }
      for (const suite of module.children.allSuites()) {
        for (const error of suite.errors())
          verdict.failed.push(`${suite.fullName}: ${error.message}`);
      }
      for (const test of module.children.allTests()) {
        const name = `${module.relativeModuleId} > ${test.fullName}`;
        const result = test.result();
        if (result.state === 'passed') verdict.passed++;
        else if (result.state === 'skipped') {
          verdict.skipped.push({ name, why: result.note ?? 'no reason given' });
        } else verdict.failed.push(name);
      }
    }
    for (const error of errors) verdict.failed.push(`outside of any test: ${error.message}`);
    if (reason === 'interrupted') verdict.failed.push('the run was interrupted');
    const file = process.env.VROUTER_VERDICT;
    if (file) writeFileSync(file, JSON.stringify(verdict));
  }
}
