// The rule of vlmad_core.inspection as pure functions; `normals` are scores of normal images, highest first.
const Rule = {
  label(score, threshold, reviewThreshold) {
    if (score > threshold) return "reject";
    return reviewThreshold !== null && score > reviewThreshold ? "review" : "pass";
  },

  // How many normals score at least this (or, if strict, more).
  count(normals, score, strict) {
    let low = 0;
    let high = normals.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (strict ? normals[middle] > score : normals[middle] >= score) low = middle + 1;
      else high = middle;
    }
    return low;
  },

  pValue(normals, score) {
    return (1 + Rule.count(normals, score, false)) / (normals.length + 1);
  },

  shareBelow(normals, score) {
    return (normals.length - Rule.count(normals, score, false)) / normals.length;
  },

  // The smallest k for which the threshold is at or above the k-th highest normal; n + 1 below all of them.
  rank(normals, threshold) {
    return Rule.count(normals, threshold, true) + 1;
  },

  // What the feedback says of a verdict, once a person has said what the image is.
  judgement(verdict, label) {
    if (verdict === "reject" || verdict === "not this part") {
      if (label === "good") return "false alarm";
      return (label === "defect") === (verdict === "reject") ? "confirmed" : "corrected";
    }
    if (verdict === "pass") return label === "good" ? "confirmed" : "missed";
    return "decided";
  },
};
