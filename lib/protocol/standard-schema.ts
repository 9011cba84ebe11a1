// The part of Standard Schema that koaws uses.

/**
 * A schema of any library that follows Standard Schema (https://standardschema.dev), such as zod,
 * valibot or arktype.
 */
export interface StandardSchema<Input = unknown, Output = Input> {
  /** The properties of Standard Schema: version, library, validation, and types without a value. */
  readonly '~standard': {
    readonly version: 1
    readonly vendor: string
    readonly validate: (value: unknown) => SchemaResult<Output> | Promise<SchemaResult<Output>>
    readonly types?: { readonly input: Input; readonly output: Output } | undefined
  }
}

/** The result of a validation: the value or the issues. */
export type SchemaResult<Output> =
  | { readonly value: Output; readonly issues?: undefined }
  | { readonly issues: readonly SchemaIssue[] }

/** One problem of a value. */
export interface SchemaIssue {
  /** The problem, in words. */
  readonly message: string
  /** The path from the outside in: names and indexes. Some libraries wrap them as `{ key }`. */
  readonly path?: readonly (PropertyKey | { readonly key: PropertyKey })[] | undefined
}

/** The input of a schema. */
export type SchemaInput<S> =
  S extends StandardSchema<infer Input, infer _Output> ? Input : undefined

/** The output of a schema. */
export type SchemaOutput<S> =
  S extends StandardSchema<infer _Input, infer Output> ? Output : undefined
