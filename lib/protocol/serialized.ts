// The TypeScript types of values after JSON, for sender and receiver.

/**
 * Replaces the type of a value without a JSON form, so that TypeScript rejects it and shows the
 * reason.
 */
export interface NoJson<Reason extends string> {
  readonly '~noJson': Reason
}

/** undefined, or `void`, as the input of `z.void()` is typed. */
type Nothing = undefined | ReturnType<() => void>
type Primitive = string | number | boolean | null | Nothing
type Omitted = undefined | symbol | ((...args: never[]) => unknown)
interface HasToJson {
  toJSON(...args: never[]): unknown
}
/** Objects that JSON turns into `{}`, or into an object of indexes. */
type Opaque =
  | ReadonlyMap<unknown, unknown>
  | ReadonlySet<unknown>
  | WeakMap<WeakKey, unknown>
  | WeakSet<WeakKey>
  | ArrayBufferView
  | ArrayBufferLike
  | RegExp
  | PromiseLike<unknown>

type OpaqueReason =
  'JSON has no form for this object: send an array or a plain object made from it. Await a promise first.'
type BigIntReason = 'JSON has no form for a bigint: send a string.'
type OmittedReason = 'JSON has no form for a function or a symbol.'
type ArrivesReason = 'The schema runs on what JSON makes of this value, and rejects that.'

type IsAny<T> = 0 extends 1 & T ? true : false
/** Whether a type is `any` or `unknown`: its JSON form is unknown as well. */
type IsUnknown<T> = IsAny<T> extends true ? true : unknown extends T ? true : false
type Flat<T> = { [K in keyof T]: T[K] }
/**
 * An array, readonly if `T` is. TypeScript defers the element type of `X[]`, so that recursive
 * types end; it resolves a mapped type over an array at once. Tuples are mapped.
 */
type LikeArray<T, A extends unknown[]> = T extends unknown[] ? A : Readonly<A>

/** The keys that JSON always writes, including index signatures. */
type KeptKey<T, K extends keyof T> = K extends symbol
  ? never
  : IsUnknown<T[K]> extends true
    ? K
    : [Exclude<T[K], Omitted>] extends [never]
      ? never
      : string extends K
        ? K
        : number extends K
          ? K
          : [Extract<T[K], Omitted>] extends [never]
            ? K
            : never

/** The keys that JSON writes for some values of the property and leaves out for others. */
type OptionalKey<T, K extends keyof T> = K extends symbol
  ? never
  : K extends KeptKey<T, K>
    ? never
    : [Exclude<T[K], Omitted>] extends [never]
      ? never
      : K

type SerializedObject<T> = Flat<
  {
    [K in keyof T as KeptKey<T, K>]: IsUnknown<T[K]> extends true
      ? T[K]
      : Serialized<Exclude<T[K], Omitted>>
  } & { [K in keyof T as OptionalKey<T, K>]?: Serialized<Exclude<T[K], Omitted>> }
>

/** JSON calls `toJSON` once; it does not call `toJSON` of the result. */
type SerializedBody<T> = T extends Primitive
  ? T
  : T extends Opaque
    ? NoJson<OpaqueReason>
    : T extends bigint
      ? NoJson<BigIntReason>
      : T extends Omitted
        ? NoJson<OmittedReason>
        : T extends readonly (infer E)[]
          ? E[] extends T
            ? LikeArray<T, SerializedElement<E>[]>
            : { [I in keyof T]: SerializedElement<T[I]> }
          : SerializedObject<T>

/**
 * The type of `JSON.parse(JSON.stringify(value))`: a Date becomes a string, an object with `toJSON`
 * becomes its result, a property that may be undefined becomes optional, and methods are removed. A
 * Map, Set, typed array or bigint becomes {@link NoJson}.
 */
export type Serialized<T> =
  IsUnknown<T> extends true
    ? T
    : T extends HasToJson
      ? SerializedBody<ReturnType<T['toJSON']>>
      : SerializedBody<T>

/** {@link Serialized}, where JSON writes `null` for undefined: in an array, or as a reply. */
export type SerializedElement<T> =
  IsUnknown<T> extends true ? T : T extends Omitted | Nothing ? null : Serialized<T>

/**
 * The value that a sender passes to a receiver without a schema: `T`, with {@link NoJson} for each
 * value without a JSON form.
 */
export type Serializable<T> =
  IsUnknown<T> extends true
    ? T
    : T extends Primitive | HasToJson
      ? T
      : T extends Opaque
        ? NoJson<OpaqueReason>
        : T extends bigint
          ? NoJson<BigIntReason>
          : T extends Omitted
            ? NoJson<OmittedReason>
            : T extends readonly (infer E)[]
              ? E[] extends T
                ? LikeArray<T, SerializableProperty<E>[]>
                : { [I in keyof T]: SerializableProperty<T[I]> }
              : { [K in keyof T]: SerializableProperty<T[K]> }

type SerializableProperty<T> =
  IsUnknown<T> extends true ? T : T extends Omitted ? T : Serializable<T>

/**
 * The value that a sender passes to a receiver with a schema for `T`. The schema runs on the JSON
 * form, so that a `Date` fits only if the schema also accepts a string.
 */
export type Arriving<T> = IsUnknown<T> extends true ? T : ArrivingOne<T, T>

type ArrivingOne<T, Whole> = T extends Primitive
  ? T
  : T extends HasToJson
    ? [Serialized<T>] extends [Whole]
      ? T
      : NoJson<ArrivesReason>
    : T extends Opaque
      ? NoJson<OpaqueReason>
      : T extends bigint
        ? NoJson<BigIntReason>
        : T extends Omitted
          ? NoJson<OmittedReason>
          : T extends readonly (infer E)[]
            ? E[] extends T
              ? LikeArray<T, ArrivingElement<E>[]>
              : { [I in keyof T]: ArrivingElement<T[I]> }
            : { [K in keyof T]: Arriving<T[K]> }

/** {@link Arriving}, where undefined arrives as null: in an array, or as an answer. */
export type ArrivingElement<T> = IsUnknown<T> extends true ? T : ElementOne<T, T>

type ElementOne<T, Whole> = T extends Nothing
  ? null extends Whole
    ? T
    : NoJson<ArrivesReason>
  : ArrivingOne<T, Whole>
