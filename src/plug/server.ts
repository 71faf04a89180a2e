/**
 * The plug API over HTTP (docs/plug-api.md): a Unix socket for the host's own orchestrators. Bodies are
 * checked by the schema that also describes them in /openapi.json; errors are problem+json (RFC 9457) with
 * the project's stable codes.
 */
import { chmodSync } from 'node:fs';
import Fastify, { type FastifyInstance, type FastifyReply } from 'fastify';
import { z } from 'zod';
import { NAME } from '../config/fields.ts';
import { ConfigError, VRouterError } from '../errors.ts';
import type { Plugged, Ports } from './ports.ts';

const MAX_BODY_BYTES = 256 << 10;
const MAX_WAIT_MS = 60_000;
const PAGE = 1000;

/** HTTP status of what the core or the books refuse; anything else of theirs is 422. */
const STATUS: Readonly<Record<string, number>> = {
  NOT_FOUND: 404,
  CONFLICT: 409,
  IN_USE: 409,
  BUSY: 409,
  BAD_CONFIG: 400,
  TABLE_FULL: 507,
  NO_MEMORY: 507,
  CLOSED: 503,
  TIMEOUT: 503,
};

function problem(reply: FastifyReply, status: number, code: string, detail: string, more = {}) {
  return reply
    .code(status)
    .type('application/problem+json')
    .send({ type: 'about:blank', status, code, detail, ...more });
}

function openApi(schema: z.ZodType, version: string) {
  const id = {
    name: 'id',
    in: 'path',
    required: true,
    schema: { type: 'string', pattern: NAME.source },
  };
  const answer = (description: string) => ({ description });
  const problems = { description: 'What was wrong, with a stable code (problem+json)' };
  const body = {
    required: true,
    content: { 'application/json': { schema: z.toJSONSchema(schema, { io: 'input' }) } },
  };
  return {
    openapi: '3.1.0',
    info: {
      title: 'vrouter plug API',
      version,
      description: 'Ports of tenants, plugged in and out while the node runs.',
    },
    paths: {
      '/v1/ports': {
        get: {
          summary: 'All plugged ports',
          parameters: [{ name: 'after', in: 'query', schema: { type: 'string' } }],
          responses: { 200: answer('A page, and where the next begins') },
        },
      },
      '/v1/ports/{id}': {
        parameters: [id],
        put: {
          summary: 'Add or change; the same body again changes nothing',
          requestBody: body,
          responses: {
            200: answer('As it was, or changed'),
            201: answer('Added; it forwards'),
            202: answer('Added; it waits for its configuration (error says for what)'),
            400: problems,
            409: problems,
            422: problems,
            503: problems,
          },
        },
        get: { summary: 'One port', responses: { 200: answer('The port'), 404: problems } },
        delete: {
          summary: 'Remove; nothing there is no error',
          responses: { 204: answer('It is gone'), 503: problems },
        },
      },
      '/v1/ports/{id}/wait': {
        parameters: [id],
        get: {
          summary: 'Answers when the port forwards',
          parameters: [
            { name: 'timeout_ms', in: 'query', schema: { type: 'integer', maximum: MAX_WAIT_MS } },
          ],
          responses: { 200: answer('The port'), 408: problems },
        },
      },
    },
  };
}

function notYet(id: string, ms: number, why: string | null | undefined): string {
  return `port ${id} is not programmed after ${ms} ms${why == null ? '' : `: ${why}`}`;
}

export interface PlugServerOptions<T> {
  readonly socket: string;
  readonly ports: Ports<T>;
  /** What a body may be, for those who ask. */
  readonly schema: z.ZodType<T>;
  /** The body as a port, or a ConfigError. */
  readonly check: (body: unknown) => T;
  readonly version: string;
  readonly onFault: (error: unknown) => void;
}

/** Serves until closed; the socket is for the user that runs the process. */
export async function servePlug<T>(options: PlugServerOptions<T>): Promise<FastifyInstance> {
  const { ports, schema } = options;
  const app = Fastify({ bodyLimit: MAX_BODY_BYTES, forceCloseConnections: true });
  const description = openApi(schema, options.version);
  const shown = (plugged: Plugged<T>) => plugged;

  app.setErrorHandler((error, _request, reply) => {
    if (error instanceof ConfigError) {
      const problems = error.problems.map(({ key, message }) => ({ key, message }));
      return problem(reply, 400, error.code, error.problems[0]?.message ?? error.message, {
        problems,
      });
    }
    if (error instanceof VRouterError) {
      return problem(reply, STATUS[error.code] ?? 422, error.code, error.message);
    }
    const { statusCode, code, message } = error as {
      statusCode?: number;
      code?: string;
      message: string;
    };
    if (statusCode !== undefined && statusCode < 500)
      return problem(reply, statusCode, code ?? 'BAD_REQUEST', message);
    options.onFault(error);
    return problem(reply, 500, 'INTERNAL', 'the node failed at this; its log says more');
  });
  app.setNotFoundHandler((request, reply) =>
    problem(
      reply,
      404,
      'NOT_FOUND',
      `there is no ${request.method} ${request.url}; see /openapi.json`,
    ),
  );

  const idOf = (params: unknown): string => {
    const { id } = params as { id: string };
    if (!NAME.test(id))
      throw new VRouterError('CONFLICT', `${JSON.stringify(id)} is no name for a port`);
    return id;
  };
  app.get('/openapi.json', () => description);
  app.get('/v1/ports', (request) => {
    const { after } = request.query as { after?: string };
    const all = ports.list().toSorted((a, b) => (a.id < b.id ? -1 : 1));
    const rest = after === undefined ? all : all.filter(({ id }) => id > after);
    const items = rest.slice(0, PAGE);
    return { items, next: rest.length > PAGE ? (items.at(-1)?.id ?? null) : null };
  });
  app.put('/v1/ports/:id', (request, reply) => {
    const id = idOf(request.params);
    const { outcome, plugged } = ports.put(id, options.check(request.body));
    const added = plugged.state === 'waiting' ? 202 : 201;
    return reply.code(outcome === 'added' ? added : 200).send({ outcome, ...shown(plugged) });
  });
  app.get('/v1/ports/:id', (request) => {
    const id = idOf(request.params);
    const found = ports.get(id);
    if (found === undefined) throw new VRouterError('NOT_FOUND', `there is no port ${id}`);
    return shown(found);
  });
  app.delete('/v1/ports/:id', (request, reply) => {
    ports.remove(idOf(request.params));
    return reply.code(204).send();
  });
  app.get('/v1/ports/:id/wait', async (request, reply) => {
    const id = idOf(request.params);
    const { timeout_ms: asked } = request.query as { timeout_ms?: string };
    const wait = Math.min(Math.max(Number(asked ?? MAX_WAIT_MS) || 0, 0), MAX_WAIT_MS);
    const found = await ports.programmed(id, wait);
    return found === undefined
      ? problem(reply, 408, 'TIMEOUT', notYet(id, wait, ports.get(id)?.error))
      : shown(found);
  });
  await app.listen({ path: options.socket });
  chmodSync(options.socket, 0o600);
  return app;
}
