import { describe, expect, test } from 'vitest';
import { listenAddress } from '../../../src/config/listen.ts';
import { loadControl } from '../../../src/config/load.ts';
import { ConfigError } from '../../../src/errors.ts';

const load = (xmpp: string) =>
  loadControl('control.yaml', `name: cent111\ninstances: []\nxmpp:\n${xmpp}`).value.xmpp;

describe('xmpp of a control file', () => {
  test('all of it', () => {
    expect(
      load(
        '  listen: 127.0.0.1:5269\n  hold_seconds: 30\n  sub_cluster: east\n  restart_seconds: 60\n  end_of_rib_seconds: 30\n  tls: { certificate: a, key: b, authority: c }',
      ),
    ).toEqual({
      listen: '127.0.0.1:5269',
      hold_seconds: 30,
      sub_cluster: 'east',
      restart_seconds: 60,
      end_of_rib_seconds: 30,
      tls: { certificate: 'a', key: 'b', authority: 'c' },
    });
  });

  test.each([
    ['127.0.0.1:5269', '127.0.0.1', 5269],
    ['[::]:0', '::', 0],
    ['[fd00::1]:65535', 'fd00::1', 65535],
  ])('%s', (text, host, port) => {
    expect(listenAddress(text)).toEqual({ host, port });
  });

  test.each([
    ['  listen: 5269', 'listen'],
    ['  listen: 127.0.0.1', 'listen'],
    ['  listen: 127.0.0.1:65536', 'listen'],
    ['  listen: ::1:5269', 'listen'],
    ['  listen: somewhere:5269', 'listen'],
    ['  hold_seconds: 30', 'listen'],
    ['  listen: 127.0.0.1:1\n  hold_seconds: 91', 'hold_seconds'],
    ['  listen: 127.0.0.1:1\n  restart_second: 1', 'restart_second'],
    ['  listen: 127.0.0.1:1\n  tls: { certificate: a }', 'key'],
  ])('%s is refused at %s', (text, key) => {
    expect(() => load(text)).toThrow(ConfigError);
    expect(() => load(text)).toThrow(key);
  });
});
