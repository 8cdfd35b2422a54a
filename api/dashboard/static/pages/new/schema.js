/** The fields of a job, read from the API's own description (`/openapi.json`). */

/**
 * @typedef {object} Field
 * @property {string} path dotted, as errors name it
 * @property {string} name its last part
 * @property {"choice" | "number" | "flag" | "text" | "json"} kind
 * @property {string} description
 * @property {any[]} choices
 * @property {any} preset what holds where nothing is given
 */

/** @param {any} openapi @param {any} schema */
export function resolve(openapi, schema) {
  let found = schema ?? {};
  for (;;) {
    if (found.$ref) {
      const target = openapi.components.schemas[found.$ref.split("/").at(-1)];
      found = { ...target, ...without(found, "$ref") };
    } else {
      const real = found.anyOf?.filter((/** @type {any} */ each) => each.type !== "null");
      if (real?.length !== 1) return found;
      found = { ...real[0], ...without(found, "anyOf") };
    }
  }
}

/** @param {any} schema @param {string} name */
function without(schema, name) {
  const { [name]: _, ...rest } = schema;
  return rest;
}

/** The kinds of job and their schemas. @param {any} openapi @returns {Map<string, any>} */
export function kinds(openapi) {
  const body = openapi.paths["/jobs"].post.requestBody.content["application/json"].schema;
  const { mapping } = body.discriminator;
  return new Map(Object.entries(mapping).map(([kind, $ref]) => [kind, resolve(openapi, { $ref })]));
}

/** The schemas of a choice between named things, such as methods. @param {any} openapi @param {any} schema @returns {Map<string, any>} */
export function named(openapi, schema) {
  const mapping = resolve(openapi, schema).discriminator?.mapping ?? {};
  return new Map(Object.entries(mapping).map(([name, $ref]) => [name, resolve(openapi, { $ref })]));
}

/**
 * All fields beneath a schema, in its order; parts within parts are walked through.
 * @param {any} openapi @param {any} schema @param {string} prefix @param {any} [given] defaults of the whole
 * @param {string[]} [skip] names that are left out
 * @returns {Field[]}
 */
export function fields(openapi, schema, prefix, given = {}, skip = []) {
  return Object.entries(resolve(openapi, schema).properties ?? {}).flatMap(([name, raw]) => {
    if (skip.includes(name)) return [];
    const each = resolve(openapi, raw);
    const path = prefix ? `${prefix}.${name}` : name;
    const preset = given?.[name] ?? each.default;
    if (each.type === "object" && each.properties) return fields(openapi, each, path, preset ?? {});
    return [field(openapi, each, path, name, preset)];
  });
}

/** @param {any} openapi @param {any} schema @param {string} path @param {string} name @param {any} preset @returns {Field} */
function field(openapi, schema, path, name, preset) {
  const choices = schema.enum ?? schema.anyOf?.flatMap((/** @type {any} */ each) => resolve(openapi, each).enum ?? (each.const ? [each.const] : [])) ?? [];
  const numeric = schema.type === "number" || schema.type === "integer";
  const kind = choices.length > 0 ? "choice" : schema.type === "boolean" ? "flag" : numeric ? "number" : schema.type === "array" || schema.type === "object" ? "json" : "text";
  return { path, name, kind, description: schema.description ?? "", choices, preset };
}

/**
 * What was typed, as JSON has it. What is no number stays text, so that the server says what is wrong.
 * @param {Field} field @param {string} text
 */
export function parse({ kind }, text) {
  if (kind === "flag") return text === "true";
  if (kind === "number") return text.trim() !== "" && Number.isFinite(Number(text)) ? Number(text) : text;
  if (kind !== "json") return text;
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}

/** The other way round. @param {Field} field @param {any} value */
export const written = (field, value) => (typeof value === "string" && field.kind !== "json" ? value : JSON.stringify(value));
