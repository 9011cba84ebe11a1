import { readFileSync } from 'node:fs'

/** A value of JSON. */
export type Json = null | boolean | number | string | Json[] | { [name: string]: Json }

/** A text, or the parts to build one from. */
export type Text = string | Repeated | (string | Repeated)[]

interface Repeated {
  repeat: [text: string, times: number]
}

/** An action of the application of a client. */
export type Action =
  | { on: string; answer?: Json; fail?: string }
  | { push: [type: string, data?: Json] }
  | { request: [type: string, data?: Json]; as: string; timeout?: number; retry?: true }
  | { stream: [type: string, data?: Json]; as: string; credit?: number; resume?: true }
  | { take: string; as: string }
  | { leave: string }
  | { upload: [type: string, data?: Json]; items: Json[]; as: string }
  | { close: true }
  | { reloaded: string }

/** The reaction of a client to a close. */
export type Then = 'stop' | 'back off' | 'at once' | 'new token' | { after: number }

/** One step of an exchange. */
export type Step =
  | { handshake: { offers?: string[]; selects?: string | null; status?: number } }
  | { welcome: { [field: string]: Json } }
  | { resume: { previous?: Json[]; positions?: { [room: string]: Json } } }
  | { client: Json }
  | { clientText: Text }
  | { clientBinary: string }
  | { server: Json }
  | { serverText: Text }
  | { serverBinary: string }
  | { restart: true }
  | { close: number | number[] | { $like: number }; reason?: Json; by?: 'client' }
  | { do: Action }
  | { received: [type: string, data?: Json] }
  | { result: string; value?: Json; error?: Json; lost?: true; ended?: true }
  | { reported: string }
  | { then: Then }

/** One exchange. */
export interface Vector {
  name: string
  section: string
  for: ('server' | 'client')[]
  route?: string
  app?: App
  /** The vector is optional for a client. */
  should?: true
  /** The vector is for clients that offer `koaws.resume`. */
  history?: true
  steps: Step[]
}

/** What the application of a client gives: tokens, positions, and a function `reload`. */
export interface App {
  token?: string[]
  tokenIn?: 'handshake' | 'message'
  positions?: { [room: string]: string }
  /** The application loads the state of a room; the action `reloaded` ends that. */
  reload?: true
}

interface VectorFile {
  welcome: { type: string; data: { [field: string]: Json } }
  vectors: Vector[]
}

/** The file as text. */
export const source: string = readFileSync(
  new URL('../../../docs/protocol-vectors.json', import.meta.url),
  'utf8',
)

/** The exchanges for one side. Each begins with a handshake, and a close has one code. */
export function vectorsFor(side: 'server' | 'client'): Vector[] {
  const { vectors, welcome } = JSON.parse(source) as VectorFile
  return vectors
    .filter((vector) => vector.for.includes(side))
    .map((vector) => ({ ...vector, steps: vector.steps.map((step) => spelledOut(step, welcome)) }))
    .map(beginning)
    .flatMap(codes)
}

function spelledOut(step: Step, { type, data }: VectorFile['welcome']): Step {
  return 'welcome' in step ? { server: { type, data: { ...data, ...step.welcome } } } : step
}

function beginning(vector: Vector): Vector {
  if (vector.steps.some((step) => 'handshake' in step && step === firstOf(vector))) return vector
  return { ...vector, steps: [{ handshake: {} }, ...vector.steps] }
}

/** The first step that is not an action of the application. */
function firstOf({ steps }: Vector): Step | undefined {
  return steps.find((step) => !('do' in step))
}

function codes(vector: Vector): Vector[] {
  const list = vector.steps.flatMap((step) =>
    'close' in step && Array.isArray(step.close) ? step.close : [],
  )
  if (list.length === 0) return [vector]
  return list.map((code) => ({
    ...vector,
    name: `${vector.name}: ${code}`,
    steps: vector.steps.map((step) =>
      'close' in step && Array.isArray(step.close) ? { ...step, close: code } : step,
    ),
  }))
}

/** Builds the text. */
export function textOf(text: Text): string {
  if (typeof text === 'string') return text
  if (!Array.isArray(text)) return text.repeat[0].repeat(text.repeat[1])
  return text.map(textOf).join('')
}
