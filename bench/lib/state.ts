/** What the five handlers of the bench put on a request, each from a header field, and the answer made of it. */

class Field {
  readonly text: string

  constructor(text: string | null | undefined) {
    this.text = text ?? ''
  }
}

export class RequestId extends Field {}
export class User extends Field {}
export class Tenant extends Field {}
export class Locale extends Field {}
export class Plan extends Field {}

/** The five as properties, where a framework has a place for such. */
export interface FiveFields {
  requestId: RequestId
  user: User
  tenant: Tenant
  locale: Locale
  plan: Plan
}

/** An answer of 1 KB. */
export function answerOf({ requestId, user, tenant, locale, plan }: FiveFields): object {
  return {
    requestId: requestId.text,
    user: user.text,
    tenant: tenant.text,
    locale: locale.text,
    plan: plan.text,
    items,
  }
}

const items = Array.from({ length: 11 }, (_, index) => ({
  id: 1000 + index,
  name: `Trillium erectum ${index}`,
  price: 4.5 + index,
  isInStock: index % 3 !== 0,
}))

/** What the client sends. */
export const requestFields = {
  'x-request-id': '5f0c1b6e',
  'x-user': 'fern',
  'x-tenant': 'wakerobin',
  'accept-language': 'en-GB',
  'x-plan': 'free',
}

/** What it must get. */
export const expectedAnswer = JSON.stringify(
  answerOf({
    requestId: new RequestId(requestFields['x-request-id']),
    user: new User(requestFields['x-user']),
    tenant: new Tenant(requestFields['x-tenant']),
    locale: new Locale(requestFields['accept-language']),
    plan: new Plan(requestFields['x-plan']),
  }),
)
