/**
 * A schema of any library that follows Standard Schema (https://standardschema.dev): zod, valibot,
 * arktype and others. Only what koaws uses of it.
 */
export interface StandardSchema<Input = unknown, Output = Input> {
  readonly '~standard': {
    readonly version: 1
    readonly vendor: string
    readonly validate: (value: unknown) => SchemaResult<Output> | Promise<SchemaResult<Output>>
    readonly types?: { readonly input: Input; readonly output: Output } | undefined
  }
}

/** What a schema makes of a value. */
export type SchemaResult<Output> =
  | { readonly value: Output; readonly issues?: undefined }
  | { readonly issues: readonly SchemaIssue[] }

/** One thing that is wrong with a value. */
export interface SchemaIssue {
  readonly message: string
  /** From the outside in: names and indexes, some libraries wrap them as `{ key }`. */
  readonly path?: readonly (PropertyKey | { readonly key: PropertyKey })[] | undefined
}

/** What a schema takes. */
export type SchemaInput<S> =
  S extends StandardSchema<infer Input, infer _Output> ? Input : undefined

/** What a schema makes of it. */
export type SchemaOutput<S> =
  S extends StandardSchema<infer _Input, infer Output> ? Output : undefined
