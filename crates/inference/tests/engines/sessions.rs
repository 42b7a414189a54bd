//! Batches from threads of the caller's own.

use kiln_inference::{Model, Options, Sessions};

use crate::engines;
use crate::model::{IMAGE, bytes, noise};

#[test]
fn threads_that_share_sessions_get_their_own_scores() {
    for engine in engines() {
        let options = Options::default().with_engine(engine).with_threads(2);
        let model = Model::from_bytes(&bytes(), &options).unwrap();
        let sessions = Sessions::new(&model);
        assert!((1..=2).contains(&sessions.limit()));
        sessions.warm_up(5, None).unwrap();
        std::thread::scope(|scope| {
            for thread in 0..4_u32 {
                let (model, sessions) = (&model, &sessions);
                scope.spawn(move || {
                    for round in 0..10 {
                        let images = 1 + (round % 5) as usize;
                        let mut values = noise(100 * thread + round, images * IMAGE);
                        let expected: Vec<_> = values
                            .chunks(IMAGE)
                            .map(|image| model.run(image, 1).unwrap())
                            .collect();
                        let together = model.classify_prepared(&mut values, images).unwrap();
                        let found = sessions.classify(&mut values, images).unwrap();
                        assert_eq!((found.len(), together.len()), (images, images));
                        for ((found, together), expected) in
                            found.iter().zip(&together).zip(&expected)
                        {
                            let [found, together] =
                                [found, together].map(|it| it.as_ref().unwrap());
                            for ((a, b), c) in found
                                .scores
                                .iter()
                                .zip(&together.scores)
                                .zip(&expected.data)
                            {
                                assert!(
                                    (a - c).abs() < 1e-5 && (b - c).abs() < 1e-5,
                                    "{a} {b} {c}"
                                );
                            }
                            assert!((found.probabilities.iter().sum::<f32>() - 1.0).abs() < 1e-5);
                        }
                    }
                });
            }
        });
    }
}

#[test]
fn values_of_another_length_are_refused() {
    let model = Model::from_bytes(&bytes(), &Options::default()).unwrap();
    let sessions = Sessions::new(&model);
    let error = sessions.classify(&mut [0.0; 7], 1).unwrap_err().to_string();
    assert!(error.contains("found 7"), "{error}");
    assert!(model.classify_prepared(&mut [0.0; 7], 1).is_err());
    assert!(sessions.classify(&mut [], 0).unwrap().is_empty());
}
