// SPDX-License-Identifier: Apache-2.0

// The page's Content-Security-Policy allows no inline styles but those with its nonce. The terminal makes style
// elements, and sets style attributes, while it runs: this gives the former the nonce, and does the latter through
// the object model, which a policy does not restrict. It must be imported before the terminal.

const { nonce } = document.getElementById('styles');

const createElement = document.createElement.bind(document);
document.createElement = (name, options) => {
  const element = createElement(name, options);
  if (element instanceof HTMLStyleElement) element.nonce = nonce;
  return element;
};

const { setAttribute } = Element.prototype;
Element.prototype.setAttribute = function (name, value) {
  if (name === 'style' && this.style) this.style.cssText = value;
  else setAttribute.call(this, name, value);
};
