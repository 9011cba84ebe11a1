// The entry `koaws/client/streams`: its public names. A page loads it as a file of its own.
export { streams } from './stream-part.ts'
