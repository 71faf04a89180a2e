/** Lab without namespaces: processes and the directory. With them: test/scenario/clusterip-netns.test.ts. */
import { existsSync, readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { haveCommand, Lab } from '../../../src/program/lab.ts';

const node = (script: string) => [process.execPath, '-e', script];
const WAIT = 'setInterval(() => {}, 1000)';

function isRunning(pid: number): boolean {
  try {
    return !/^\d+ \(.*\) Z/.test(readFileSync(`/proc/${pid}/stat`, 'utf8'));
  } catch {
    return false;
  }
}

let lab: Lab;
beforeEach(({ skip }) => {
  skip(!haveCommand('setpriv'), 'needs the command setpriv (Debian: util-linux)');
  lab = new Lab();
});
afterEach(() => lab?.close());

describe('Lab', () => {
  it('has a directory that carries our pid, until it is closed', async () => {
    expect(lab.directory).toContain(`-${process.pid}-`);
    expect(existsSync(lab.directory)).toBe(true);
    await lab.close();
    expect(existsSync(lab.directory)).toBe(false);
  });

  it('runs a command to its end, whatever its status', async () => {
    const ended = await lab.run(node('console.log("out"); console.error("err"); process.exit(3)'));
    expect(ended).toEqual({ status: 3, out: 'out\n', err: 'err\n' });
    const absent = await lab.run(['no-such-command-here']);
    expect(absent.status).not.toBe(0);
    expect(absent.err).toContain('no-such-command-here');
  });

  it('ends a service when told to, and one that does not listen too', async () => {
    const service = lab.start('quiet', node(`console.log("up"); ${WAIT}`));
    await lab.until('up', async () => (service.out() === 'up\n' ? true : undefined), 10_000);
    expect(isRunning(service.pid)).toBe(true);
    await service.stop();
    expect(isRunning(service.pid)).toBe(false);
    const deaf = lab.start(
      'deaf',
      node(`process.on("SIGTERM", () => {}); console.log(1); ${WAIT}`),
    );
    await lab.until('up', async () => (deaf.out() === '1\n' ? true : undefined), 10_000);
    await deaf.stop();
    expect(isRunning(deaf.pid)).toBe(false);
  }, 20_000);

  it('says with its last words when a service ends by itself', async () => {
    lab.start('broken', node('console.error("first\\nwhat went wrong"); process.exit(4)'));
    await expect(lab.broken).rejects.toMatchObject({
      code: 'LAB',
      message: expect.stringMatching(
        /^broken ended by itself \(exit status 4\)[\s\S]*what went wrong$/,
      ),
    });
  });

  it('does not take a stop, or an end that may be, for a failure', async () => {
    await lab.start('stopped', node(WAIT)).stop();
    await lab.start('short', node(''), { mayEnd: true }).ended;
    const still = await Promise.race([lab.broken, sleep(100).then(() => 'still whole')]);
    expect(still).toBe('still whole');
  });

  it('ends everything when it is closed, and starts nothing after', async () => {
    const services = ['a', 'b'].map((name) => lab.start(name, node(WAIT)));
    const running = lab.run(node(WAIT));
    await lab.close();
    expect(services.map(({ pid }) => isRunning(pid))).toEqual([false, false]);
    expect((await running).status).toBe(null);
    expect(() => lab.run(node(''))).toThrow('the lab is closed');
    await expect(lab.namespace('late')).rejects.toThrow('the lab is closed');
  });

  it('waits for what comes, and names what does not with the last reason', async () => {
    let asked = 0;
    const third = async () => {
      asked += 1;
      if (asked < 3) throw new Error('not yet');
      return 'there';
    };
    expect(await lab.until('it', third, 5_000)).toBe('there');
    const never = async () => {
      throw new Error('no such socket');
    };
    await expect(lab.until('a socket', never, 50)).rejects.toThrow(
      'not in 50 ms: a socket: no such socket',
    );
    expect(await lab.poll(async () => undefined, 50)).toBeUndefined();
  });
});
