// The entry `koaws/asyncapi`: its public names.

export { checkContract } from './contract.ts'
export { asyncapi } from './document.ts'
export type { ContractFinding } from './findings.ts'
export type {
  AsyncApiChannel,
  AsyncApiDocument,
  AsyncApiInfo,
  AsyncApiMessage,
  AsyncApiOperation,
  AsyncApiOptions,
  AsyncApiParameter,
  AsyncApiReference,
  AsyncApiSecurity,
  AsyncApiServer,
  JsonSchema,
  JsonSchemaObject,
  SchemaConverter,
  SchemaPlace,
} from './types.ts'
