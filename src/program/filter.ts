/** A capture filter as `capture.start` takes it, compiled in this process (dataplane/captures.ts says why). */
import { compileFilter } from '../dataplane/captures.ts';
import { ParseError, VRouterError } from '../errors.ts';

export function filterProgram(text: string): string {
  try {
    return Buffer.from(compileFilter(text)).toString('base64');
  } catch (error) {
    if (error instanceof VRouterError && error.code === 'BAD_VALUE') {
      throw new ParseError(`filter "${text}": ${error.message}`);
    }
    throw error;
  }
}
