import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { Ajv, type AnySchema } from 'ajv';
import addFormatsModule from 'ajv-formats';
import { z } from 'zod';

const parameter = z.object({ name: z.string(), in: z.string(), schema: z.unknown() });
const reference = z.object({ $ref: z.string() });
const response = z.object({ content: z.record(z.string(), z.object({ schema: z.unknown() })).optional() });
const requestBody = z.object({ content: z.record(z.string(), z.object({ schema: z.unknown() })) });
const operation = z.object({
  requestBody: requestBody.optional(),
  parameters: z.array(z.union([reference, parameter])).default([]),
  responses: z.record(z.string(), z.union([reference, response])),
});
const description = z.object({
  openapi: z.string().startsWith('3.0'),
  paths: z.record(
    z.string(),
    z.object({ get: operation.optional(), post: operation.optional(), delete: operation.optional() }),
  ),
  components: z.object({
    schemas: z.record(z.string(), z.unknown()),
    parameters: z.record(z.string(), parameter),
    responses: z.record(z.string(), response),
  }),
});

export type Method = 'get' | 'post' | 'delete';

/** One documented call. */
export interface DocumentedRoute {
  path: string;
  queryNames: readonly string[];
  /** What is wrong with a query, by GitHub's own description of it; empty when nothing is. */
  mistakesInQuery(query: URLSearchParams): readonly string[];
  /** What is wrong with what is sent; empty when nothing is. Properties that are not documented are wrong. */
  mistakesInBody(body: unknown): readonly string[];
  /** What is wrong with a body; empty when nothing is. Null when the description has no JSON body for that status. */
  mistakesInAnswer(status: number, body: unknown): readonly string[] | null;
}

export interface GitHubDescription {
  /** Null for a path below the API that GitHub does not document for the method. */
  routeOf(path: string, method?: Method): DocumentedRoute | null;
  /** What is wrong with a body by a named schema such as `basic-error`. */
  mistakesBySchema(name: string, body: unknown): readonly string[];
}

const ROOT = 'https://api.github.com/openapi';

/** Reads GitHub's OpenAPI description of api.github.com, the copy that refers to its parts by name. */
export function loadGitHubDescription(): GitHubDescription {
  const file = createRequire(import.meta.url).resolve('@octokit/openapi/generated/api.github.com.json');
  const { paths, components } = description.parse(JSON.parse(readFileSync(file, 'utf8'), spellOutNullable));
  // Not strict: `example` and the like are OpenAPI's own words, and `int64` is no format of JSON Schema.
  const ajv = new Ajv({ strict: false, allErrors: true, logger: false });
  addFormatsModule.default(ajv);
  ajv.addSchema({ $id: ROOT, components }, ROOT);

  const mistakes = (schema: AnySchema, data: unknown): readonly string[] => {
    const validate = ajv.compile(schema);
    if (validate(data) === true) return [];
    return (validate.errors ?? []).map((error) => `${error.instancePath || '/'} ${error.message}`);
  };
  const nameOf = (ref: string): string => ref.slice(ref.lastIndexOf('/') + 1);

  return {
    routeOf(path, method = 'get') {
      const found = Object.entries(paths).find(([template, methods]) => matches(template, path) && methods[method]);
      const call = found?.[1][method];
      if (found === undefined || call === undefined) return null;
      const [template] = found;
      const parameters = call.parameters.flatMap((each) =>
        '$ref' in each ? (components.parameters[nameOf(each.$ref)] ?? []) : each,
      );
      const inQuery = parameters.filter((each) => each.in === 'query');
      return {
        path: template,
        queryNames: inQuery.map(({ name }) => name),
        mistakesInQuery: (query) =>
          [...query].flatMap(([name, value]) => {
            const known = inQuery.find((each) => each.name === name);
            if (known === undefined) return [`${name} is not documented`];
            const number = /^[0-9]+$/.test(value) ? Number(value) : value;
            return mistakes(absolute(known.schema), number).map((mistake) => `${name}: ${mistake}`);
          }),
        mistakesInBody(body) {
          const schema = call.requestBody?.content['application/json']?.schema;
          if (schema === undefined) return ['takes no body'];
          const { properties = {} } = z.object({ properties: z.record(z.string(), z.unknown()).optional() }).parse(schema);
          const unknown = Object.keys(z.record(z.string(), z.unknown()).parse(body)).filter((name) => !(name in properties));
          return [...unknown.map((name) => `${name} is not documented`), ...mistakes(absolute(schema), body)];
        },
        mistakesInAnswer(status, body) {
          const documented = call.responses[String(status)];
          const resolved = documented && '$ref' in documented ? components.responses[nameOf(documented.$ref)] : documented;
          const schema = resolved?.content?.['application/json']?.schema;
          return schema === undefined ? null : mistakes(absolute(schema), body);
        },
      };
    },
    mistakesBySchema: (name, body) => mistakes({ $ref: `${ROOT}#/components/schemas/${name}` }, body),
  };
}

/** Says `nullable` in JSON Schema's words: Ajv knows it beside a `type` alone, GitHub also writes it beside `anyOf` and `enum`. */
function spellOutNullable(_key: string, value: unknown): unknown {
  if (typeof value !== 'object' || value === null || !('nullable' in value)) return value;
  if (typeof value.nullable !== 'boolean') return value;
  const schema = Object.fromEntries(Object.entries(value).filter(([key]) => key !== 'nullable'));
  return value.nullable ? { anyOf: [{ type: 'null' }, schema] } : schema;
}

const schemaObject = z.record(z.string(), z.unknown());

/** The same schema, its references made to start from the description instead of from itself. */
function absolute(schema: unknown): AnySchema {
  const text = JSON.stringify(schema).replaceAll('"#/components/', `"${ROOT}#/components/`);
  return schemaObject.parse(JSON.parse(text));
}

function matches(template: string, path: string): boolean {
  const expected = template.split('/');
  const given = path.split('/');
  return (
    expected.length === given.length && expected.every((part, index) => /^\{\w+\}$/.test(part) || part === given[index])
  );
}
